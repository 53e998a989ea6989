"""Looks whether a start can get anywhere, before it goes through the gate.

A start holds the gate until the library has dialled. A dial into nothing takes half a minute, in which no other session
of the host could send; a plain TCP connection tells as much in a moment.
"""

import os
import socket
from collections.abc import Mapping
from urllib.parse import urlsplit

WHATSAPP = ("web.whatsapp.com", 443)
TIMEOUT_S = 5.0


class Unreachable(Exception):
    """A start would not get through, so it was not tried:"""


def check(database_url: str, proxy: str | None, environment: Mapping[str, str] = os.environ) -> None:
    """Raise `Unreachable` unless the database and WhatsApp, or the proxy before it, take a TCP connection.

    Where we give the library no proxy it takes that of the environment, and so does this.
    """
    proxy = proxy or way_out(environment)
    database = urlsplit(database_url)
    if database.hostname:
        _connect("the database", (database.hostname, database.port or 5432))
    if proxy is None:
        _connect("WhatsApp", WHATSAPP)
    else:
        address = urlsplit(proxy)
        _connect("the proxy", (address.hostname or "", address.port or (443 if address.scheme == "https" else 80)))


def way_out(environment: Mapping[str, str], host: str = WHATSAPP[0]) -> str | None:
    """Return the URL of the proxy that Go would take to a host (net/http.ProxyFromEnvironment), if any."""
    proxy = environment.get("HTTPS_PROXY") or environment.get("https_proxy")
    if not proxy:
        return None
    host = f".{host}"
    for name in (environment.get("NO_PROXY") or environment.get("no_proxy") or "").split(","):
        excepted = name.strip().removeprefix("*").lstrip(".")
        if name.strip() == "*" or (excepted and host.endswith(f".{excepted}")):
            return None
    return proxy if "://" in proxy else f"http://{proxy}"


def _connect(what: str, address: tuple[str, int]) -> None:
    try:
        socket.create_connection(address, TIMEOUT_S).close()
    except OSError as error:
        raise Unreachable(f"{what} does not answer ({error.strerror or type(error).__name__})") from None
