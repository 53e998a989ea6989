"""What can be made to go wrong. A fault is one row of the table at the end.

Some strike at once and are over (`cut`, `stream_error`). The others last: until their time is up, until they have
struck so many times, or until they are ended by call. What they strike asks here, at the place where it happens:
the connection at a login, a query, a message, the media host at a transfer. Nothing here knows those places.
"""

import math
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

import trio

from bridge.errors import BridgeError
from bridge.sandbox.accounts import Account, Device
from bridge.sandbox.connections import Connections
from bridge.sandbox.nodes import Node

MAX_SECONDS: Final = 3600.0
MAX_DELAY_S: Final = 120.0
MAX_COUNT: Final = 1_000_000
_REMEMBERED: Final = 200
"""Faults that are over, kept for whoever asks what they struck."""


class UnknownFault(BridgeError):
    """There is no such fault."""

    code = "unknown_fault"
    status = 400


class BadFault(BridgeError):
    """The fault's values make no sense."""

    code = "bad_fault"
    status = 400


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked for: of one account's devices or of all, for how long or how often, and with what."""

    kind: str
    account: Account | None = None
    seconds: float | None = None
    count: int | None = None
    code: int | None = None
    delay_s: float | None = None
    expires_s: int = 3600
    """How long a ban (login refused with 402) says that it lasts."""
    xmlns: str = ""
    tag: str = ""
    """The first child of the queries that are meant; empty: any."""
    direction: str = ""
    """`upload` or `download`; empty: both."""


@dataclass(slots=True, eq=False)
class Active:
    """A fault that lasts. `until` is in Trio's time."""

    number: int
    request: Request
    until: float
    struck: int = 0

    @property
    def left(self) -> float:
        """Return how often it may still strike."""
        return math.inf if self.request.count is None else self.request.count - self.struck


@dataclass(frozen=True, slots=True)
class Kind:
    """What a fault needs and does. `at_once` returns how many connections it hit."""

    at_once: Callable[["Faults", Request], int]
    lasts: bool = False
    codes: tuple[int, ...] = ()
    """Allowed values of `code`; the first is the default."""
    delay_s: float | None = None
    """The default of `delay_s`; None where it has none."""
    for_all: bool = False
    """It cannot be limited to one phone."""
    needs_phone: bool = False
    needs_seconds: bool = False


@dataclass(slots=True)
class Faults:
    """The faults that are active."""

    connections: Connections
    unlink: Callable[[Device], None] = lambda _: None
    """Removes a device as its phone's owner does."""
    active: list[Active] = field(default_factory=list)
    over: deque[Active] = field(default_factory=lambda: deque(maxlen=_REMEMBERED))
    _last: int = 0
    _changed: trio.Event = field(default_factory=trio.Event)

    @property
    def down(self) -> bool:
        """Say whether the server is to look as if it were not there."""
        return self._find("server_down", None) is not None

    def check(self, request: Request) -> Request:
        """Return the request with its defaults; raise `UnknownFault` and `BadFault`."""
        kind = KINDS.get(request.kind)
        if kind is None:
            raise UnknownFault(f"{request.kind!r}, there are: {', '.join(sorted(KINDS))}")
        for wrong in _wrong(kind, request):
            raise BadFault(f"{request.kind} {wrong}")
        return _completed(kind, request)

    def apply(self, request: Request) -> tuple[int, int]:
        """Make it happen; return its number and how many connections it hit. Raises as `check` does."""
        request = self.check(request)
        kind = KINDS[request.kind]
        self._last += 1
        entry = Active(self._last, request, trio.current_time() + (request.seconds or math.inf))
        if request.seconds == 0:
            self._end_kind(request)
            return entry.number, 0
        (self.active if kind.lasts else self.over).append(entry)
        hit = kind.at_once(self, request)
        if not kind.lasts:
            entry.struck = hit
        self._wake()
        return entry.number, hit

    def strike(
        self, kind: str, account: Account | None, where: Callable[[Request], bool] | None = None
    ) -> Request | None:
        """Return the fault of that kind that strikes here and now, which counts; None where there is none."""
        if not self.active:
            return None
        found = self._find(kind, account, where)
        if found is None:
            return None
        found.struck += 1
        if found.left <= 0:
            self._end(found)
        return found.request

    def strikes_query(self, account: Account, node: Node) -> bool:
        """Say whether a query is to stay without an answer."""
        first = node.children()[0].tag if node.children() else ""
        xmlns = node.text("xmlns")
        meant = self.strike("unanswered", account, lambda r: r.xmlns in ("", xmlns) and r.tag in ("", first))
        return meant is not None

    def media_status(self, direction: str) -> int | None:
        """Return the status with which the media host is to refuse a transfer, None where it is not to."""
        refusal = self.strike("media", None, lambda request: request.direction in ("", direction))
        return refusal.code if refusal else None

    async def passage(self, account: Account | None) -> None:
        """Return when a stanza may pass between the server and a client: at once unless a fault is in the way."""
        while self.active and (wall := self._find("half_open", account)) is not None:
            if not wall.struck:
                wall.struck = 1
            with trio.move_on_at(wall.until):
                await self._changed.wait()
        slow = self.strike("slow", account)
        if slow:
            await trio.sleep(slow.delay_s or 0)

    def clear(self) -> int:
        """End all faults; return how many there were."""
        ended = [entry for entry in list(self.active) if not self._expired(entry)]
        for entry in ended:
            self._end(entry)
        return len(ended)

    def list(self) -> list[Active]:
        """Return the faults that are active now."""
        return [entry for entry in list(self.active) if not self._expired(entry)]

    def hit(self, request: Request) -> int:
        """Return how many connections are concerned."""
        return len(list(self.connections.of(request.account)))

    def cut(self, request: Request) -> int:
        """End connections without a word."""
        peers = list(self.connections.of(request.account))
        for peer in peers:
            peer.cut()
        return len(peers)

    def stream_error(self, request: Request) -> int:
        """End connections with a stream error."""
        return self._say(request, Node("stream:error", {"code": str(request.code)}))

    def replaced(self, request: Request) -> int:
        """End connections as if another client of the same device had come."""
        return self._say(request, Node("stream:error", {}, [Node("conflict", {"type": "replaced"})]))

    def logged_out(self, request: Request) -> int:
        """Remove all linked devices of a phone, as its owner does."""
        devices = request.account.linked() if request.account else []
        for device in devices:
            self.unlink(device)
        return len(devices)

    def _say(self, request: Request, last_words: Node) -> int:
        peers = [peer for peer in self.connections.of(request.account) if peer.device is not None]
        for peer in peers:
            peer.send(last_words)
            peer.close_soon()
        return len(peers)

    def _find(
        self, kind: str, account: Account | None, where: Callable[[Request], bool] | None = None
    ) -> Active | None:
        for entry in list(self.active):
            request = entry.request
            if self._expired(entry) or request.kind != kind:
                continue
            if request.account in (None, account) and (where is None or where(request)):
                return entry
        return None

    def _expired(self, entry: Active) -> bool:
        if trio.current_time() >= entry.until:
            self._end(entry)
            return True
        return False

    def _end_kind(self, request: Request) -> None:
        for entry in list(self.active):
            if entry.request.kind == request.kind and request.account in (None, entry.request.account):
                self._end(entry)

    def _end(self, entry: Active) -> None:
        if entry in self.active:
            self.active.remove(entry)
            self.over.append(entry)
            self._wake()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = trio.Event()


def _wrong(kind: Kind, request: Request) -> list[str]:
    """Return what is wrong with the values of a request."""
    found = []
    if kind.for_all and request.account is not None:
        found.append("is for all phones")
    if kind.needs_phone and request.account is None:
        found.append("needs a phone")
    if request.seconds is None:
        if kind.needs_seconds:
            found.append(f"needs seconds between 0 and {MAX_SECONDS:.0f}")
    elif not kind.lasts or not 0 <= request.seconds <= MAX_SECONDS:
        found.append(f"takes seconds between 0 and {MAX_SECONDS:.0f}" if kind.lasts else "takes no seconds")
    if request.count is not None and not (kind.lasts and 1 <= request.count <= MAX_COUNT):
        found.append(f"takes a count between 1 and {MAX_COUNT}" if kind.lasts else "takes no count")
    if request.code is not None and request.code not in kind.codes:
        found.append(f"takes the codes {', '.join(map(str, kind.codes))}" if kind.codes else "takes no code")
    if request.delay_s is not None and not (kind.delay_s is not None and 0 <= request.delay_s <= MAX_DELAY_S):
        found.append(f"takes delay_s up to {MAX_DELAY_S:.0f}" if kind.delay_s is not None else "takes no delay_s")
    if request.direction not in ("", "upload", "download"):
        found.append("takes upload or download as a direction")
    if not 0 <= request.expires_s <= 31_536_000:
        found.append("takes expires_s up to a year")
    return found


def _completed(kind: Kind, request: Request) -> Request:
    return Request(
        request.kind,
        request.account,
        request.seconds,
        request.count,
        request.code if request.code is not None or not kind.codes else kind.codes[0],
        request.delay_s if request.delay_s is not None else kind.delay_s,
        request.expires_s,
        request.xmlns,
        request.tag,
        request.direction,
    )


KINDS: Final[Mapping[str, Kind]] = {
    "cut": Kind(Faults.cut),
    "server_down": Kind(Faults.cut, lasts=True, for_all=True, needs_seconds=True),
    "half_open": Kind(Faults.hit, lasts=True),
    "slow": Kind(Faults.hit, lasts=True, delay_s=0.5),
    "stream_error": Kind(Faults.stream_error, codes=(503, 500, 515, 516)),
    "replaced": Kind(Faults.replaced),
    "logged_out": Kind(Faults.logged_out, needs_phone=True),
    "login_refused": Kind(Faults.cut, lasts=True, codes=(401, 402, 403, 405, 406, 409, 500, 503)),
    "unanswered": Kind(Faults.hit, lasts=True),
    "ack_missing": Kind(Faults.hit, lasts=True),
    "ack_delayed": Kind(Faults.hit, lasts=True, delay_s=2.0),
    "duplicated": Kind(Faults.hit, lasts=True),
    "reordered": Kind(Faults.hit, lasts=True, delay_s=2.0),
    "corrupted": Kind(Faults.hit, lasts=True),
    "rate_limited": Kind(Faults.hit, lasts=True, codes=(429,)),
    "reachout_locked": Kind(Faults.hit, lasts=True, codes=(463,)),
    "media": Kind(Faults.hit, lasts=True, for_all=True, codes=(404, 403, 410, 500)),
}
