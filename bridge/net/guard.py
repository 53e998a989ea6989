"""Keeps what others choose away from the inside: which URLs may be called, which addresses may be connected to.

A name can resolve to something else tomorrow, so a URL is judged twice: its form when an endpoint is made, its
addresses at every connect. Every address that a name has must be public, and the connection goes to the very address
that was checked.
"""

import ipaddress
import re
import socket
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar
from urllib.parse import SplitResult, urlsplit

import trio

from bridge.errors import BridgeError

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
IPNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network

URL_MAX = 2_048
ADMIT_S = 5.0
"""For resolving the name of an endpoint that is being made."""
PORTS = {"http": 80, "https": 443}
_SPACE_OR_CONTROL = re.compile(r"[\x00-\x20\x7f\\]")

# Beyond what `ipaddress` calls global: its table differs between Python versions and lets through what translates into
# private IPv4 (NAT64) or leads nowhere. https://www.iana.org/assignments/iana-ipv6-special-registry
REFUSED: tuple[IPNetwork, ...] = tuple(
    ipaddress.ip_network(network)
    for network in (
        "192.0.0.0/24",  # protocol assignments
        "192.88.99.0/24",  # 6to4 relays
        "100.64.0.0/10",  # carrier-grade NAT
        "64:ff9b::/96",  # NAT64
        "64:ff9b:1::/48",  # NAT64, local
        "100::/64",  # discard
        "2001::/23",  # protocol assignments, Teredo among them
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4
        "3fff::/20",  # documentation
        "5f00::/16",  # segment routing
    )
)
_NAME = re.compile(r"(?=.{1,253}$)(?:[a-z0-9_-]{1,63}\.)*[a-z0-9_-]{1,63}\.?")
_IPV6_UNICAST = ipaddress.ip_network("2000::/3")
_lookups = trio.CapacityLimiter(8)


class UrlRefused(BridgeError):
    """This URL must not be called."""

    code: ClassVar[str] = "url_refused"
    status: ClassVar[int] = 422


@dataclass(frozen=True, slots=True)
class Target:
    """A URL taken apart: what a connection and a request line need."""

    scheme: str
    host: str
    port: int
    path: str

    @property
    def authority(self) -> str:
        """The value of the `Host` header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == PORTS[self.scheme] else f"{host}:{self.port}"


class Guard:
    """Judges URLs and addresses; `allow` names what may be called although it is private.

    An entry of `allow` is `host:port`, exactly as in the URL, or a network such as `10.0.0.0/8`.
    """

    def __init__(self, allow: Iterable[str] = ()) -> None:
        self._hosts: set[tuple[str, int]] = set()
        self._networks: list[IPNetwork] = []
        for entry in allow:
            try:
                self._networks.append(ipaddress.ip_network(entry))
            except ValueError:
                host, _, port = entry.rpartition(":")
                self._hosts.add((host.strip("[]").lower(), int(port)))

    def judge(self, url: str) -> Target:
        """Return the parts of `url`, or raise `UrlRefused` for its form or for an address that stands in it."""
        target = parse(url)
        if _is_address(target.host):
            self._check(target, ipaddress.ip_address(target.host))
        return target

    async def admit(self, url: str) -> None:
        """Judge the URL of an endpoint that is being made; raise `UrlRefused`.

        Its name must resolve, unless it is allowed by name: what is allowed may be started later.
        """
        target = self.judge(url)
        if (target.host, target.port) in self._hosts:
            return
        with trio.move_on_after(ADMIT_S):
            await self.addresses(target)
            return
        raise UrlRefused(f"Its name did not resolve in {ADMIT_S:g} s.")

    async def addresses(self, target: Target) -> Sequence[str]:
        """Resolve the host; raise `UrlRefused` unless there is an address and each one is allowed."""
        if _is_address(target.host):
            self._check(target, ipaddress.ip_address(target.host))
            return (target.host,)
        try:
            found = await trio.to_thread.run_sync(
                _resolve, target.host, target.port, abandon_on_cancel=True, limiter=_lookups
            )
        except (OSError, UnicodeError) as error:
            raise UrlRefused("Its name does not resolve.") from error
        for address in found:
            self._check(target, ipaddress.ip_address(address.partition("%")[0]))
        if not found:
            raise UrlRefused("Its name does not resolve.")
        return found

    def _check(self, target: Target, address: IPAddress) -> None:
        if (target.host, target.port) in self._hosts or is_public(address):
            return
        inner = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
        if any((inner or address) in network for network in self._networks):
            return
        raise UrlRefused(f"{address} is not public; allow it in the configuration if it is meant.")


def is_public(address: IPAddress) -> bool:
    """Say whether `address` belongs to the public internet and means itself."""
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return is_public(address.ipv4_mapped)
        if address not in _IPV6_UNICAST:
            return False
    return address.is_global and not address.is_multicast and not any(address in network for network in REFUSED)


def parse(url: str) -> Target:
    """Take `url` apart; raise `UrlRefused` for what nobody needs: other schemes, credentials, spaces."""
    if len(url) > URL_MAX:
        raise UrlRefused(f"It is longer than {URL_MAX} characters.")
    if _SPACE_OR_CONTROL.search(url):
        raise UrlRefused("It contains a space, a backslash or a control character.")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise UrlRefused("It is malformed.") from error
    if parts.scheme not in PORTS:
        raise UrlRefused("It must begin with https:// or http://.")
    if parts.username is not None or parts.password is not None:
        raise UrlRefused("It contains credentials; set a header instead.")
    if not parts.hostname or port == 0:
        raise UrlRefused("It has no host or no valid port.")
    return Target(parts.scheme, _ascii(parts.hostname), port or PORTS[parts.scheme], _path(parts))


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _ascii(host: str) -> str:
    try:
        name = host.lower() if host.isascii() else host.encode("idna").decode()
    except UnicodeError as error:
        raise UrlRefused("Its host name is malformed.") from error
    if not _is_address(name) and _NAME.fullmatch(name) is None:
        raise UrlRefused("Its host name is malformed.")
    return name


def _path(parts: SplitResult) -> str:
    """Return path and query for the request line; the fragment is nobody's business."""
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    if not path.isascii():
        raise UrlRefused("Its path must be percent-encoded.")
    return path


def _resolve(host: str, port: int) -> list[str]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))
