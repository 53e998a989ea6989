"""The form of an API key: a prefix that scanners for leaked secrets can look for, randomness, and a checksum.

`wab_`, 43 characters of base 62 (256 random bits), and 6 for the CRC-32 of those, as GitHub's tokens have it: a
mistyped key is told apart from an unknown one without asking anybody. Text of another form is a key that an operator
chose, and has no checksum.
"""

import re
import secrets
import string
import zlib

PREFIX = "wab_"
RANDOM_BITS = 256
HINT_CHARS = len(PREFIX) + 4
"""Of a key that may be shown: enough to tell keys apart, 24 of 256 bits."""
PATTERN = r"wab_[0-9A-Za-z]{49}"
"""What a scanner searches for."""

_BASE62 = string.digits + string.ascii_uppercase + string.ascii_lowercase
_RANDOM_CHARS, _CHECK_CHARS = 43, 6
_FORM = re.compile(PATTERN)


def make_key() -> str:
    """Return a new key."""
    random = _base62(secrets.randbits(RANDOM_BITS), _RANDOM_CHARS)
    return PREFIX + random + _check(random)


def is_mistyped(text: str) -> bool:
    """Say whether `text` has the form of a key that we made, and a checksum that does not belong to it."""
    if not _FORM.fullmatch(text):
        return False
    random = text[len(PREFIX) : -_CHECK_CHARS]
    return text[-_CHECK_CHARS:] != _check(random)


def hint(key: str) -> str:
    """Return the part of a key that may be shown; nothing of a chosen one, which may be short."""
    return key[:HINT_CHARS] if _FORM.fullmatch(key) else ""


def _check(random: str) -> str:
    return _base62(zlib.crc32(random.encode()), _CHECK_CHARS)


def _base62(value: int, length: int) -> str:
    digits = []
    for _ in range(length):
        value, digit = divmod(value, 62)
        digits.append(_BASE62[digit])
    return "".join(reversed(digits))
