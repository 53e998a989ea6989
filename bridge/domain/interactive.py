"""Messages with buttons, written as text.

The engine has no way to send real buttons that arrive: WhatsApp refuses the old ones (error 405), and shows the new
ones only with a certain node beside the message, `biz`, which whatsmeow does not add and neonize lets nobody add
(tulir/whatsmeow, pull request 1235). A message that WhatsApp takes and nobody sees is worse than text.
"""

from collections.abc import Iterable


def as_text(title: str, body: str, footer: str | None, choices: Iterable[str]) -> str:
    """Return what stands for the buttons: the choices numbered, so that "2" is an answer."""
    numbered = "\n".join(f"{number}. {choice}" for number, choice in enumerate(choices, 1))
    parts = (f"*{title}*" if title else "", body, numbered, f"_{footer}_" if footer else "")
    return "\n\n".join(part for part in parts if part)
