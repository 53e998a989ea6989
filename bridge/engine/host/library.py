"""The Go library behind neonize, called through neonize's own ctypes declarations.

Importing neonize as a whole costs 0.6 s and 40 MB of memory per process, nearly all of it for things that a host never
does (link previews, stickers, protobuf classes), and needs libmagic. Of the package only `neonize._binder` is wanted
here: it declares the functions and frees what they return. So `Library` puts bare packages in the place of `neonize`
and `neonize.utils`, whose own code then never runs, and a `neonize.download` that refuses: nothing is fetched at run
time.
"""

import ctypes
import importlib.util
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from bridge.engine.codes import SUBSCRIBED, Code
from bridge.engine.host.transfers import Transfers
from bridge.engine.wire import Argument

NEONIZE_VERSION = "0.5.2"
"""The release that this was written for; the loader refuses a library of another one."""
LOG_LEVEL = b"WARN"
"""At `DEBUG` the library writes every stanza, with its contents, into the log."""


@dataclass(frozen=True, slots=True)
class Start:
    """How to start a client; an empty `jid` means a new device, which wants to be paired."""

    client: bytes
    database_url: str
    jid: bytes
    device_props: bytes
    proxy: str | None
    history: bool = False
    """Whether history syncs are wanted, which can be megabytes."""


class NoLibrary(Exception):
    """neonize's shared library can't be used on this machine:"""


def _refuse_download() -> None:
    raise NoLibrary(f"the wheel of neonize {NEONIZE_VERSION} has none for this platform")


def _bare_package(name: str, folder: Path) -> None:
    module = ModuleType(name)
    module.__path__ = [str(folder)]
    sys.modules[name] = module


class Library:
    """The loaded library; `binder` declares its functions, `path` is the file."""

    def __init__(self) -> None:
        """Load it; raise `NoLibrary`. Once per process."""
        spec = importlib.util.find_spec("neonize")
        if spec is None or not spec.submodule_search_locations:
            raise NoLibrary("neonize is not installed")
        folder = Path(spec.submodule_search_locations[0])
        _bare_package("neonize", folder)
        _bare_package("neonize.utils", folder / "utils")
        download = ModuleType("neonize.download")
        download.__dict__.update(__GONEONIZE_VERSION__=NEONIZE_VERSION, download=_refuse_download)
        sys.modules["neonize.download"] = download
        try:
            from neonize import _binder  # noqa: PLC0415 - only now is it safe to import
            from neonize.utils.platform import generated_name  # noqa: PLC0415
        except (OSError, RuntimeError) as error:
            raise NoLibrary(str(error)) from error
        self.binder: Any = _binder
        self.path = folder / generated_name()
        self.transfers = Transfers(_binder)
        self._stop = _binder.gocode["Stop"]
        self._stop.restype = None  # the binder takes a pointer from it and frees it, but the function returns nothing
        self._stop.argtypes = [ctypes.c_char_p]
        self._kept: list[object] = []
        """Callbacks of every client that ever ran: the library may call one of a stopped client."""

    def call(self, method: str, client: bytes, arguments: tuple[Argument, ...]) -> bytes:
        """Call one of `METHODS` and return what it returns; the library aborts on a client that does not run."""
        function = getattr(self.binder.gocode, method)
        return bytes(function(client, *(part for argument in arguments for part in _as_c(argument))) or b"")

    def stop(self, client: bytes) -> None:
        """Disconnect a client and take it out of the library's maps; a writer of the gate."""
        self._stop(client)

    def run(self, start: Start, on_record: Callable[[int, bytes], None], on_log: Callable[[bytes], None]) -> str:
        """Run a client until it is stopped or fails, and return the error text; blocks its thread for all that time.

        `on_record` gets a code and a payload, on this thread; `on_log` serialised log entries, on any thread.
        """
        binder = self.binder

        def event(_: object, address: int, size: int, code: int) -> None:
            on_record(code, ctypes.string_at(address, size))

        def qr(_: object, address: int) -> None:
            on_record(Code.QR, ctypes.string_at(address))

        def login_status(_: object, address: int) -> None:
            on_record(Code.LOGIN_STATUS, ctypes.string_at(address))

        def log(address: int, size: int) -> None:
            on_log(ctypes.string_at(address, size))

        wanted = SUBSCRIBED + bytes([Code.HISTORY_SYNC]) if start.history else SUBSCRIBED
        settings = binder.ProxySettings(proxy_address=start.proxy)._to_c_struct() if start.proxy else None
        callbacks = (
            binder.func_string(qr),
            binder.func_string(login_status),
            binder.func_callback_bytes(event),
            binder.func_callback_bytes2(log),
        )
        self._kept += [*callbacks, settings]
        error = binder.gocode.Neonize(
            start.database_url.encode(),
            start.client,
            start.jid,
            len(start.jid),
            int(not start.jid),  # with neither a JID nor this, it resumes the first stored session, whoever owns it
            LOG_LEVEL,
            *callbacks,
            wanted,
            len(wanted),
            start.device_props,
            len(start.device_props),
            b"",
            0,
            ctypes.byref(settings) if settings is not None else None,
        )
        return bytes(error or b"").decode(errors="replace")


def _as_c(argument: Argument) -> tuple[object, ...]:
    match argument:
        case bytes():
            return argument, len(argument)
        case str():
            return (argument.encode(),)
        case _:
            return (argument,)


METHODS = frozenset(
    {
        "CreateGroup", "Disconnect", "GetBlocklist", "GetGroupInfo", "GetGroupInviteLink",
        "GetGroupRequestParticipants", "GetJoinedGroups",
        "GetLIDFromPN", "GetPNFromLID", "GetPrivacySettings", "GetProfilePicture",
        "GetUserInfo", "IsOnWhatsApp", "JoinGroupWithLink", "LeaveGroup",
        "Logout", "MarkRead", "PairPhone", "RejectCall", "SendChatPresence", "SendMessage",
        "SendPresence", "SetDisappearingTimer", "SetGroupAnnounce", "SetGroupLocked", "SetGroupName", "SetGroupTopic",
        "SetPrivacySetting", "SetPushName",
        "SetStatusMessage", "SubscribePresence", "UpdateBlocklist", "UpdateGroupParticipants",
    }
)  # fmt: skip
"""What a bridge may call; the argument types are declared in neonize's `_binder`."""
