"""Addresses: JIDs ("Jabber ids"), as everything in WhatsApp has one.

`4917012345678@s.whatsapp.net` is an account by its phone number, `123456789012345@lid` the same account by its LID (the
identifier that does not tell the number), `120363000000000001@g.us` a group. A device of an account stands behind a
colon, `4917012345678:3@s.whatsapp.net`; device 0 is the phone and is not written. WhatsApp itself is a server without a
user, `s.whatsapp.net`.
"""

from typing import Final

import msgspec

USER_SERVER: Final = "s.whatsapp.net"
LID_SERVER: Final = "lid"
GROUP_SERVER: Final = "g.us"


class Jid(msgspec.Struct, frozen=True):
    """The address of a phone number, a LID, one of their devices, a group, or (without a user) a server."""

    user: str
    server: str
    device: int = 0

    def __str__(self) -> str:
        if self.device:
            return f"{self.user}:{self.device}@{self.server}"
        return f"{self.user}@{self.server}" if self.user else self.server

    @classmethod
    def parse(cls, text: str) -> "Jid":
        """Return the address behind `user:device@server`, `user@server` or `server`."""
        user, at, server = text.rpartition("@")
        if not at:
            return cls("", text)
        user, _, device = user.partition(":")
        return cls(user, server, int(device) if device else 0)

    def bare(self) -> "Jid":
        """Return the address without its device."""
        return Jid(self.user, self.server)

    def with_device(self, device: int) -> "Jid":
        return Jid(self.user, self.server, device)


SERVER: Final = Jid("", USER_SERVER)
"""WhatsApp itself, as sender or recipient."""
