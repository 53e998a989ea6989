"""Contact cards as WhatsApp shows them: vCard 3.0 (RFC 2426) with the number's account in `waid`."""

import re

_BREAK = re.compile(r"\r\n|\r|\n")
_UNSAFE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")


def vcard(name: str, phone: str) -> str:
    """Return the card of `name` with the number `phone` (E.164 digits), whose "Message" button opens the right chat."""
    full = _escaped(name)
    return "\n".join(
        (
            "BEGIN:VCARD",
            "VERSION:3.0",
            f"N:;{full};;;",
            f"FN:{full}",
            f"TEL;type=CELL;waid={phone}:+{phone}",
            "END:VCARD",
        )
    )


def is_vcard(text: str) -> bool:
    """Say whether a card that a caller made has the lines without which phones show nothing."""
    lines = [line.upper() for line in _BREAK.split(text.strip())]
    names = {line.partition(":")[0].partition(";")[0] for line in lines}
    framed = len(lines) > 2 and lines[0] == "BEGIN:VCARD" and lines[-1] == "END:VCARD"
    return framed and {"VERSION", "FN"} <= names


def _escaped(text: str) -> str:
    text = _UNSAFE.sub(" ", text.replace("\\", "\\\\").replace(";", "\\;").replace(",", "\\,"))
    return _BREAK.sub("\\\\n", text)
