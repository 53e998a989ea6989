"""Decides who may see events: with a key whoever has it, without one this machine alone. Pure.

The page itself and health need no key: they show nothing of anybody's messages.
"""

import hmac
import ipaddress
from collections.abc import Mapping

from receiver.errors import Closed, ForeignHost, NoKey, RequestError

_LOCAL_NAMES = ("localhost", "ip6-localhost")


def refusal(key: str | None, host: str, headers: Mapping[bytes, bytes]) -> RequestError | None:
    """Return why a request may not see events, or None if it may.

    `host` is where the receiver listens, `headers` has lower-case names. Without a key only a receiver that listens on
    a loopback address shows events, and only under such an address: a page on the web whose name was made to point
    here sends its own name.
    """
    if key is not None:
        return None if _has(key, headers) else NoKey()
    if not _is_loopback(host):
        return Closed()
    return None if _is_loopback(_host_of(headers.get(b"host", b""))) else ForeignHost()


def _has(key: str, headers: Mapping[bytes, bytes]) -> bool:
    scheme, _, token = headers.get(b"authorization", b"").partition(b" ")
    offered = token.strip() if scheme.lower() == b"bearer" else headers.get(b"x-api-key", b"")
    return hmac.compare_digest(key.encode(), offered)


def _host_of(header: bytes) -> str:
    text = header.decode("latin-1")
    if text.startswith("["):
        return text[1:].partition("]")[0]
    return text.rpartition(":")[0] if ":" in text else text


def _is_loopback(host: str) -> bool:
    if host.lower() in _LOCAL_NAMES:
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
