"""Brazil's two spellings of a mobile number: with and without the 9 that was put behind the area code.

WhatsApp knows an account by the one it was registered under. Landlines (whose numbers begin with 2 to 5) and other
countries have one spelling.
"""

import re

_LONG = re.compile(r"(55[1-9][0-9])9([6-9][0-9]{7})")
_SHORT = re.compile(r"(55[1-9][0-9])([6-9][0-9]{7})")


def other_spelling(phone: str) -> str | None:
    """Return the other way to write a number (digits), None where there is only one."""
    if match := _LONG.fullmatch(phone):
        return match[1] + match[2]
    if match := _SHORT.fullmatch(phone):
        return f"{match[1]}9{match[2]}"
    return None
