"""Requests that come in one piece, as nearly all do: head and small body together, nothing special about either.

`read_head` takes the plain ones only, by a grammar that is narrower than HTTP's: one known length, no transfer coding,
no expectation, no upgrade, no wish to close. Whatever is not plain is left to Hypercorn and h11, which judge it as they
judge everything: two parsers never look at one request.
"""

import re
from dataclasses import dataclass

import trio

WHOLE = "bridge.whole"
"""In the scope of a request that came in one piece: its `Whole`."""
WHOLE_MAX = 65_536
"""Of a body that is waited for before its request begins; a larger one is read as it comes."""
HEAD_MAX = 16_384
"""As h11 bounds it in Hypercorn."""

_HEAD = re.compile(
    rb"(GET|POST|PUT|PATCH|DELETE) (/[!-~]*+) HTTP/1\.1\r\n"
    rb"((?:[!#$%&'*+.^_`|~0-9A-Za-z-]++:[\t -~]*+\r\n)++)\r\n"
)
_FIELD = re.compile(rb"([^:\r\n]++):([^\r\n]*+)\r\n")
_NEVER = frozenset({b"transfer-encoding", b"expect", b"upgrade", b"trailer", b"te", b"proxy-connection"})


@dataclass(frozen=True, slots=True)
class Head:
    """The head of a plain request: names of headers in lower case, sizes in bytes."""

    method: str
    target: bytes
    headers: list[tuple[bytes, bytes]]
    size: int
    body_bytes: int


def read_head(data: bytes) -> Head | None:
    """Return the head that `data` begins with when it is complete, plain, and followed by no more than its body."""
    found = _HEAD.match(data, 0, HEAD_MAX)
    if found is None:
        return None
    headers: list[tuple[bytes, bytes]] = []
    hosts, length = 0, None
    for field, padded in _FIELD.findall(found[3]):
        name, value = field.lower(), padded.strip(b" \t")
        headers.append((name, value))
        if name == b"host":
            hosts += 1
        elif name == b"content-length":
            if length is not None or not value.isdigit() or len(value) > 5:
                return None
            length = int(value)
        elif name in _NEVER or (name == b"connection" and value.lower() != b"keep-alive"):
            return None
    length = length or 0
    if hosts != 1 or length > WHOLE_MAX or len(data) > found.end() + length:
        return None
    return Head(found[1].decode(), found[2], headers, found.end(), length)


class Whole:
    """The body of a request that came in one piece, and whether its peer still waits for the answer."""

    __slots__ = ("_over", "_scope", "body", "gone")

    def __init__(self, body: bytes) -> None:
        self.body = body
        self.gone = False
        self._scope: trio.CancelScope | None = None
        self._over = trio.Event()

    def watch(self, scope: trio.CancelScope) -> None:
        """Have `scope` cancelled when the peer goes away, or has."""
        self._scope = scope
        if self.gone:
            scope.cancel()

    def leave(self) -> None:
        """Say that the peer has gone."""
        self.gone = True
        self._over.set()
        if self._scope is not None:
            self._scope.cancel()

    def finish(self) -> None:
        """Say that the answer is complete."""
        self._over.set()

    async def over(self) -> None:
        """Return when the peer has gone or the answer is complete."""
        await self._over.wait()
