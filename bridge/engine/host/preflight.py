"""Looks whether a start can get anywhere, before it goes through the gate.

A start holds the gate until the library has dialled. A dial into nothing takes half a minute, in which no other session
of the host could send; a plain TCP connection tells as much in a moment.
"""

import socket
from urllib.parse import urlsplit

WHATSAPP = ("web.whatsapp.com", 443)
TIMEOUT_S = 5.0


class Unreachable(Exception):
    """A start would not get through, so it was not tried:"""


def check(database_url: str, proxy: str | None) -> None:
    """Raise `Unreachable` unless the database and WhatsApp, or the proxy before it, take a TCP connection."""
    database = urlsplit(database_url)
    if database.hostname:
        _connect("the database", (database.hostname, database.port or 5432))
    if proxy is None:
        _connect("WhatsApp", WHATSAPP)
    else:
        address = urlsplit(proxy)
        _connect("the proxy", (address.hostname or "", address.port or 80))


def _connect(what: str, address: tuple[str, int]) -> None:
    try:
        socket.create_connection(address, TIMEOUT_S).close()
    except OSError as error:
        raise Unreachable(f"{what} does not answer ({error.strerror or type(error).__name__})") from None
