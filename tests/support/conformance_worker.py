"""A process with real neonize clients for the conformance suite: any call of the library, any event, as JSON lines.

It is the unmodified wheel on an SQLite file of its own, without any code of the bridge except for the trust anchor.
Started with `SSL_CERT_FILE` and, as arguments, the sandbox's ready line and the database file. Every line on stdin is
`{"id", "client", "method", "arguments", "keywords"}`, every line on stdout an event or the reply to an id. It ends with
its stdin.

Arguments that JSON has no word for are written as `{"jid": "1@lid"}`, `{"bytes": base64}`,
`{"enum": ["ParticipantChange", "ADD"]}` and `{"proto": ["Message", base64]}`; protobufs come back as
`{"proto", "b64", "data"}`, where `data` is the message as JSON, and bytes as `{"bytes"}`.
"""

import base64
import json
import os
import sys
import threading
import time
from operator import attrgetter
from pathlib import Path
from typing import Any

_out = os.fdopen(os.dup(1), "w", buffering=1)
os.dup2(2, 1)  # the library prints to stdout

import neonize  # noqa: E402
from google.protobuf.json_format import MessageToDict  # noqa: E402
from google.protobuf.message import Message as Protobuf  # noqa: E402
from neonize import events  # noqa: E402
from neonize._binder import ProxySettings  # noqa: E402
from neonize.client import NewClient  # noqa: E402
from neonize.proto import Neonize_pb2  # noqa: E402
from neonize.proto.waE2E import WAWebProtobufsE2E_pb2 as e2e  # noqa: E402
from neonize.utils import enum as enums  # noqa: E402

from bridge.engine.host.trust import trust_sandbox  # noqa: E402
from bridge.engine.wire import SandboxTrust  # noqa: E402

READY = json.loads(sys.argv[1])
DATABASE = sys.argv[2]
SETTLE_S = 0.03
PROTOS = {"Message": e2e.Message, "MessageEvent": Neonize_pb2.Message, "MessageInfo": Neonize_pb2.MessageInfo}

_lock = threading.Lock()
_gate = threading.Lock()
_clients: dict[str, NewClient] = {}
_kept: list[NewClient] = []


def emit(**line: object) -> None:
    with _lock:
        _out.write(json.dumps(line) + "\n")


def outward(value: Any) -> Any:
    if isinstance(value, Protobuf):
        data = MessageToDict(value, preserving_proto_field_name=True)
        return {"proto": value.DESCRIPTOR.name, "b64": _b64(value.SerializeToString()), "data": data}
    if isinstance(value, bytes):
        return {"bytes": _b64(value)}
    if isinstance(value, str | int | float | None):
        return value
    return [outward(item) for item in value] if hasattr(value, "__len__") else repr(value)


def inward(value: Any) -> Any:
    match value:
        case {"jid": text}:
            user, _, server = text.rpartition("@")
            user, _, device = user.partition(":")
            number = int(device or 0)
            return Neonize_pb2.JID(User=user, Server=server, Device=number, RawAgent=0, Integrator=0, IsEmpty=False)
        case {"bytes": text}:
            return base64.b64decode(text)
        case {"enum": [kind, name]}:
            return getattr(enums, kind)[name]
        case {"proto": [kind, text]}:
            return PROTOS[kind].FromString(base64.b64decode(text))
        case list():
            return [inward(item) for item in value]
    return value


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def start(name: str, jid: str | None) -> None:
    if jid is None:
        client = NewClient(DATABASE, uuid=name, new_device=True)
    else:
        client = NewClient(DATABASE, jid=inward({"jid": jid}))
    client.uuid = name.encode()
    _kept.append(client)  # callbacks of a freed client crash the library
    started = threading.Event()
    execute = client.event.execute

    def first(*arguments: object) -> object:
        started.set()
        return execute(*arguments)

    client.event.execute = first
    client.event.qr(lambda _, code: (started.set(), emit(event="QRCode", client=name, data={"qr": code.decode()})))
    for kind in events.EVENT_TO_INT:
        # neonize says who was paired and what a proxy is for in an event of its own; all others are handled alike
        client.event(kind)(
            lambda _, event, kind=kind: emit(event=kind.__name__, client=name, at=time.time(), **outward(event))
        )
    _clients[name] = client

    def run() -> None:
        try:
            client.connect(ProxySettings(proxy_address=READY["proxy"]))
            emit(event="returned", client=name, data={})
        except Exception as error:
            emit(event="failed", client=name, data={"error": repr(error)[:300]})

    with _gate:
        threading.Thread(target=run, daemon=True).start()
        started.wait(15)
        time.sleep(SETTLE_S)


def do(request: dict[str, Any]) -> object:
    name, method = request["client"], request["method"]
    arguments = [inward(argument) for argument in request["arguments"]]
    if method == "start":
        return start(name, *arguments)
    client = _clients[name]
    if method == "stop":
        with _gate:
            return client.stop()
    found = attrgetter(method)(client)
    keywords = {name: inward(value) for name, value in request.get("keywords", {}).items()}
    return found(*arguments, **keywords) if callable(found) else found


def answer(request: dict[str, Any]) -> None:
    try:
        emit(reply=request["id"], result=outward(do(request)))
    except Exception as error:
        emit(reply=request["id"], error=repr(error)[:300])


def main() -> None:
    library = next(Path(neonize.__file__).parent.glob("neonize-*.so"))
    trust_sandbox(library, SandboxTrust(READY["proxy"], READY["root_key"], READY["ca_file"]))
    emit(event="ready", client="", data={})
    for line in sys.stdin:
        threading.Thread(target=answer, args=(json.loads(line),), daemon=True).start()
    os._exit(0)


main()
