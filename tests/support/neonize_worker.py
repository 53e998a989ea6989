"""A process with real neonize clients, driven by JSON lines: what the sandbox's tests call the client.

It is the unmodified wheel on an SQLite file of its own, without any code of the bridge except for the trust anchor.
Started with `SSL_CERT_FILE` and, as arguments, the sandbox's ready line and the database file. Every line on stdin is
`{"id", "op", "client", ...}`; every line on stdout an event or the reply to an id. It ends with its stdin.
"""

import json
import os
import sys
import threading
import time
from pathlib import Path

_out = os.fdopen(os.dup(1), "w", buffering=1)
os.dup2(2, 1)  # the library prints to stdout

import neonize  # noqa: E402
from neonize import events  # noqa: E402
from neonize._binder import ProxySettings  # noqa: E402
from neonize.client import NewClient  # noqa: E402
from neonize.proto.Neonize_pb2 import JID  # noqa: E402
from neonize.utils.enum import ReceiptType  # noqa: E402
from neonize.utils.jid import Jid2String, build_jid  # noqa: E402

from bridge.engine.host.trust import trust_sandbox  # noqa: E402
from bridge.engine.wire import SandboxTrust  # noqa: E402

READY = json.loads(sys.argv[1])
DATABASE = sys.argv[2]
SETTLE_S = 0.03

_lock = threading.Lock()
_gate = threading.Lock()
_clients: dict[str, NewClient] = {}
_kept: list[NewClient] = []
_last: dict[str, object] = {}


def emit(**line: object) -> None:
    with _lock:
        _out.write(json.dumps(line) + "\n")


def _message(name: str, event: object) -> None:
    source, body = event.Info.MessageSource, event.Message
    _last[name] = event
    emit(
        event="message",
        client=name,
        id=event.Info.ID,
        text=body.conversation or body.extendedTextMessage.text,
        sender=Jid2String(source.Sender),
        sender_alt=Jid2String(source.SenderAlt),
        chat=Jid2String(source.Chat),
        group=source.IsGroup,
        from_me=source.IsFromMe,
        push_name=event.Info.Pushname,
        at=time.time(),
    )


def _receipt(name: str, event: object) -> None:
    emit(event="receipt", client=name, ids=list(event.MessageIDs), type=int(event.Type))


PLAIN = {
    events.ConnectedEv: "connected",
    events.DisconnectedEv: "disconnected",
    events.StreamReplacedEv: "replaced",
    events.KeepAliveTimeoutEv: "keepalive_timeout",
    events.UndecryptableMessageEv: "undecryptable",
    events.OfflineSyncCompletedEv: "offline_done",
    events.JoinedGroupEv: "joined_group",
    events.PresenceEv: "presence",
    events.ChatPresenceEv: "typing",
}


def make(name: str, jid: str | None) -> tuple[NewClient, threading.Event]:
    if jid is None:
        client = NewClient(DATABASE, uuid=name, new_device=True)
    else:
        user, _, rest = jid.partition(":")
        device, _, server = rest.partition("@")
        address = JID(User=user, Server=server, Device=int(device), RawAgent=0, Integrator=0, IsEmpty=False)
        client = NewClient(DATABASE, jid=address)
    client.uuid = name.encode()
    _kept.append(client)  # callbacks of a freed client crash the library
    started = threading.Event()
    execute = client.event.execute

    def first(*arguments: object) -> object:
        started.set()
        return execute(*arguments)

    client.event.execute = first
    client.event.qr(lambda _, code: (started.set(), emit(event="qr", client=name, qr=code.decode())))
    for kind, word in PLAIN.items():
        client.event(kind)(lambda _, event, word=word: emit(event=word, client=name))
    client.event(events.PairStatusEv)(
        lambda _, event: emit(event="paired", client=name, jid=Jid2String(event.ID), error=event.Error)
    )
    client.event(events.LoggedOutEv)(lambda _, event: emit(event="logged_out", client=name, on_connect=event.OnConnect))
    client.event(events.StreamErrorEv)(lambda _, event: emit(event="stream_error", client=name, code=event.Code))
    client.event(events.MessageEv)(lambda _, event: _message(name, event))
    client.event(events.ReceiptEv)(lambda _, event: _receipt(name, event))
    _clients[name] = client
    return client, started


def start(name: str, jid: str | None) -> None:
    client, started = make(name, jid)

    def run() -> None:
        try:
            client.connect(ProxySettings(proxy_address=READY["proxy"]))
            emit(event="returned", client=name)
        except Exception as error:
            emit(event="failed", client=name, error=repr(error)[:300])

    with _gate:
        threading.Thread(target=run, daemon=True).start()
        started.wait(15)
        time.sleep(SETTLE_S)


def do(request: dict) -> object:
    name = request["client"]
    if request["op"] == "start":
        return start(name, request.get("jid"))
    client = _clients[name]
    to = build_jid(request["to"], request.get("server", "s.whatsapp.net")) if "to" in request else None
    match request["op"]:
        case "send":
            return client.send_message(to, request["text"]).ID
        case "send_many":
            return [client.send_message(to, text).ID for text in request["texts"]]
        case "check":
            return [[found.Query, found.IsIn, Jid2String(found.JID)] for found in client.is_on_whatsapp(*request["on"])]
        case "read":
            info = _last[name].Info
            source = info.MessageSource
            client.mark_read(info.ID, chat=source.Chat, sender=source.Sender, receipt=ReceiptType.READ)
            return None
        case "group":
            return Jid2String(
                client.create_group(request["name"], [build_jid(user) for user in request["members"]]).JID
            )
        case "presence":
            from neonize.utils.enum import Presence

            return client.send_presence(Presence.AVAILABLE)
        case "stop":
            with _gate:
                return client.stop()
        case "logout":
            return client.logout()
    raise ValueError(request["op"])


def answer(request: dict) -> None:
    try:
        emit(reply=request["id"], result=do(request))
    except Exception as error:
        emit(reply=request["id"], error=repr(error)[:300])


def main() -> None:
    library = next(Path(neonize.__file__).parent.glob("neonize-*.so"))
    trust_sandbox(library, SandboxTrust(READY["proxy"], READY["root_key"], READY["ca_file"]))
    emit(event="ready", client="")
    for line in sys.stdin:
        threading.Thread(target=answer, args=(json.loads(line),), daemon=True).start()
    os._exit(0)


main()
