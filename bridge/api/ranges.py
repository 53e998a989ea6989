"""The header Range, for one range of bytes (RFC 9110, 14). Pure."""

import re

_ONE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")


class Unsatisfiable(Exception):
    """The range lies behind the end."""


def wanted(header: str | None, size: int) -> tuple[int, int] | None:
    """Return the first byte and the one behind the last that a request asks for; None when it means all of them.

    A header that is not understood, or that names several ranges, is ignored, as the RFC allows.
    Raises `Unsatisfiable`.
    """
    found = _ONE.fullmatch(header.strip()) if header else None
    if found is None or found.groups() == ("", ""):
        return None
    first, last = found.groups()
    if not first:
        length = int(last)
        if not length or not size:
            raise Unsatisfiable
        return max(0, size - length), size
    start = int(first)
    stop = min(int(last) + 1, size) if last else size
    if last and int(last) < start:
        return None
    if start >= size:
        raise Unsatisfiable
    return start, stop
