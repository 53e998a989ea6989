"""A receiver that costs next to nothing: notes when each webhook came, answers 204 or never. One thread, no library.

Prints its port; writes `time id` lines to the file that is its second argument.
"""

import selectors
import socket
import sys
import time

ANSWER = b"HTTP/1.1 204 No Content\r\n\r\n"
FLUSH_S = 0.2


def main(kind: str, path: str) -> None:
    """Serve until killed; `kind` is answers or hangs."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=512)
    print(listener.getsockname()[1], flush=True)
    waiting = selectors.DefaultSelector()
    waiting.register(listener, selectors.EVENT_READ)
    buffers: dict[socket.socket, bytes] = {}
    with open(path, "w") as notes:  # noqa: PTH123
        while True:
            for key, _ in waiting.select(FLUSH_S):
                peer = key.fileobj
                assert isinstance(peer, socket.socket)
                if peer is listener:
                    peer = listener.accept()[0]
                    waiting.register(peer, selectors.EVENT_READ)
                    buffers[peer] = b""
                    continue
                try:
                    data = peer.recv(65_536)
                except OSError:
                    data = b""
                if not data:
                    waiting.unregister(peer)
                    peer.close()
                    del buffers[peer]
                    continue
                ids, buffers[peer] = requests(buffers[peer] + data)
                for id in ids:
                    notes.write(f"{time.time():.6f} {id}\n")
                if ids and kind == "answers":
                    peer.sendall(ANSWER * len(ids))
            notes.flush()


def requests(data: bytes) -> tuple[list[str], bytes]:
    """Return the ids of the complete requests in `data`, and the rest."""
    ids: list[str] = []
    while (end := data.find(b"\r\n\r\n")) >= 0:
        lines = (line.split(b": ", 1) for line in data[:end].split(b"\r\n")[1:])
        fields = {name.lower(): value for name, value in lines}
        size = end + 4 + int(fields[b"content-length"])
        if len(data) < size:
            break
        ids.append(fields[b"webhook-id"].decode())
        data = data[size:]
    return ids, data


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
