"""Judges the headers that the owner of an endpoint wants on every webhook, such as one that lets it past a proxy."""

import re
from collections.abc import Mapping
from typing import ClassVar

from bridge.errors import BridgeError

COUNT_MAX = 20
VALUE_MAX = 2_048
_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}")
_VALUE = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?")

HOP_BY_HOP = frozenset(
    {
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
"""They belong to a connection, not to a request: RFC 9110, 7.6.1."""
OURS = frozenset({"host", "user-agent", "content-type", "content-length", "content-encoding", "expect"})
"""What the bridge writes itself, or what would change what its body means."""
OUR_PREFIXES = ("webhook-", "x-webhook-", "x-instance-", "x-hub-signature")


class HeaderRefused(BridgeError):
    """This header cannot be set on webhooks."""

    code: ClassVar[str] = "header_refused"
    status: ClassVar[int] = 422


def judge(headers: Mapping[str, str]) -> None:
    """Raise `HeaderRefused` for the first header that must not be set."""
    if len(headers) > COUNT_MAX:
        raise HeaderRefused(f"There are {len(headers)}; {COUNT_MAX} are allowed.")
    seen: set[str] = set()
    for name, value in headers.items():
        if reason := _refusal(name, value, seen):
            raise HeaderRefused(f"`{name[:80]}` {reason}.", header=name[:80])
        seen.add(name.lower())


def _refusal(name: str, value: str, seen: set[str]) -> str | None:
    lower = name.lower()
    faults = (
        (_NAME.fullmatch(name) is None, "is not a header's name"),
        (lower in HOP_BY_HOP, "belongs to the connection"),
        (lower in OURS or lower.startswith(OUR_PREFIXES), "is set by the bridge"),
        (lower in seen, "is given twice"),
        (len(value) > VALUE_MAX, f"is longer than {VALUE_MAX} characters"),
        (_VALUE.fullmatch(value) is None, "must be printable ASCII, without space around it"),
    )
    return next((text for wrong, text in faults if wrong), None)
