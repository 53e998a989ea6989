"""Gives access to WhatsApp's protobuf messages without loading the shared library that neonize wraps.

`import neonize` opens a Go library of 40 MB, which neither the bridge's process nor the sandbox wants. The generated
protobuf modules beside it need nothing but protobuf: they are top-level packages (`waE2E`, `waAdv`, ...) in neonize's
folder `proto`. So this module puts that folder at the end of the import path, as neonize itself does at its front, and
imports a module when its name is first used:

    from bridge.protos import e2e
    message = e2e.Message(conversation="hello")

It never creates or replaces a module called `neonize`. A process that imports the real one, before or after, gets the
same files, and the same message classes: protobuf's pool keeps one class per message type.
"""

import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import Neonize_pb2 as neonize_pb
    from waAdv import WAAdv_pb2 as adv
    from waCert import WACert_pb2 as cert
    from waCommon import WACommon_pb2 as common
    from waCompanionReg import WACompanionReg_pb2 as companion_reg
    from waE2E import WAWebProtobufsE2E_pb2 as e2e
    from waHistorySync import WAWebProtobufsHistorySync_pb2 as history_sync
    from waServerSync import WAWebProtobufsServerSync_pb2 as server_sync
    from waSyncAction import WAWebProtobufSyncAction_pb2 as sync_action
    from waVnameCert import WAWebProtobufsVnameCert_pb2 as vname
    from waWa6 import WAWebProtobufsWa6_pb2 as wa6
    from waWeb import WAWebProtobufsWeb_pb2 as web

__all__ = [
    "adv", "cert", "common", "companion_reg", "e2e", "history_sync", "neonize_pb", "server_sync", "sync_action",
    "vname", "wa6", "web",
]  # fmt: skip

_MODULES = {
    "adv": "waAdv.WAAdv_pb2",
    "cert": "waCert.WACert_pb2",
    "common": "waCommon.WACommon_pb2",
    "companion_reg": "waCompanionReg.WACompanionReg_pb2",
    "e2e": "waE2E.WAWebProtobufsE2E_pb2",
    "history_sync": "waHistorySync.WAWebProtobufsHistorySync_pb2",
    "neonize_pb": "Neonize_pb2",
    "server_sync": "waServerSync.WAWebProtobufsServerSync_pb2",
    "sync_action": "waSyncAction.WAWebProtobufSyncAction_pb2",
    "vname": "waVnameCert.WAWebProtobufsVnameCert_pb2",
    "wa6": "waWa6.WAWebProtobufsWa6_pb2",
    "web": "waWeb.WAWebProtobufsWeb_pb2",
}


def __getattr__(name: str) -> ModuleType:
    """Import the protobuf module behind `name` (PEP 562) and keep it as an attribute of this module."""
    path = _MODULES.get(name)
    if path is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    _make_importable()
    # neonize imports its own messages as a submodule of itself; where that happened, there must not be a second copy.
    module = sys.modules.get(f"neonize.proto.{path}") or importlib.import_module(path)
    globals()[name] = module
    return module


def _make_importable() -> None:
    """Append neonize's folder of generated modules to the import path, once; raise `ImportError` without neonize."""
    spec = importlib.util.find_spec("neonize")  # finds the package without running it
    if spec is None or not spec.submodule_search_locations:
        raise ImportError("neonize is not installed: its generated protobuf modules are needed")
    folder = str(Path(spec.submodule_search_locations[0]) / "proto")
    if folder not in sys.path:
        sys.path.append(folder)
