"""Phone numbers that exist under another spelling than the one people write.

Three countries have changed how a mobile number is written, and WhatsApp knows many accounts by the older form: whoever
asks for either spelling is told of the one account, under the number that it is registered with.

Brazil (55): mobile numbers got a ninth digit, a 9 behind the two digits of the area. Mexico (52): a 1 stood in front of
the ten digits. Argentina (54): abroad a 9 is dialled in front of them.
"""

import re
from typing import Final

_RULES: Final = (
    (re.compile(r"(55[1-9]\d)9([6-9]\d{7})"), r"\1\2"),
    (re.compile(r"(55[1-9]\d)([6-9]\d{7})"), r"\g<1>9\2"),
    (re.compile(r"521(\d{10})"), r"52\1"),
    (re.compile(r"52(\d{10})"), r"521\1"),
    (re.compile(r"549(\d{10})"), r"54\1"),
    (re.compile(r"54(\d{10})"), r"549\1"),
)


def other_spelling(number: str) -> str | None:
    """Return the other way to write a number (digits), None where there is only one."""
    for pattern, written in _RULES:
        if pattern.fullmatch(number):
            return pattern.sub(written, number)
    return None
