"""The address that a request comes from: the peer's, or behind proxies that are trusted the one they name."""

import ipaddress
from collections.abc import Iterable, Sequence
from functools import lru_cache

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
IPNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network


@lru_cache(4096)
def networks(texts: tuple[str, ...]) -> tuple[IPNetwork, ...]:
    """Return addresses and networks as networks; raise `ValueError` for what is neither."""
    return tuple(ipaddress.ip_network(text, strict=False) for text in texts)


def client_address(peer: str, headers: Iterable[tuple[bytes, bytes]], trusted: Sequence[IPNetwork]) -> IPAddress | None:
    """Return who asks, None when `peer` is no address.

    X-Forwarded-For counts from its right end, as long as the proxy that wrote an entry is trusted: whatever a client
    wrote into it himself stands further left.
    """
    found = _read(peer)
    if found is None or not within(found, trusted):
        return found
    lines = [value for name, value in headers if name == b"x-forwarded-for"]
    for entry in reversed(b",".join(lines).decode("latin-1").split(",")):
        named = _read(entry.strip())
        if named is None:
            return found
        found = named
        if not within(found, trusted):
            return found
    return found


def within(address: IPAddress, allowed: Sequence[IPNetwork]) -> bool:
    """Say whether one of the networks holds `address`."""
    return any(address in network for network in allowed)


def _read(text: str) -> IPAddress | None:
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address
