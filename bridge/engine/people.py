"""Who and where, in what the engine reports: chats and people under their two identities, phone number and LID."""

from dataclasses import dataclass

from bridge.engine import jids
from bridge.protos import neonize_pb

PHONE_SERVER, LID_SERVER, GROUP_SERVER, NEWSLETTER_SERVER = "s.whatsapp.net", "lid", "g.us", "newsletter"
STATUS_CHAT = "status@broadcast"


@dataclass(frozen=True, slots=True)
class Person:
    """One person; `id` is the identity under which WhatsApp named them this time."""

    id: str
    jid: str | None
    lid: str | None
    name: str

    @property
    def phone(self) -> str | None:
        """Digits, when WhatsApp has told us the number."""
        return self.jid.partition("@")[0] if self.jid is not None else None

    @property
    def reply_to(self) -> str:
        """Return what a message to this person is addressed to: the number where we know it."""
        return self.phone or self.id

    def as_data(self) -> dict[str, object]:
        """Return the object `sender` of the HTTP API."""
        return {
            "jid": self.jid,
            "lid": self.lid,
            "phone": self.phone,
            "phone_known": self.jid is not None,
            "name": self.name,
        }


def person(named: "neonize_pb.JID", other: "neonize_pb.JID", name: str = "") -> Person:
    """Return the person whom WhatsApp calls `named`, and perhaps `other` too."""
    known = {jid.Server: jids.text(jid) for jid in (other, named) if jid.User}
    return Person(jids.text(named), known.get(PHONE_SERVER), known.get(LID_SERVER), name)


def chat_kind(chat: str) -> str:
    """Return direct, group, newsletter or status."""
    if chat == STATUS_CHAT:
        return "status"
    server = chat.rpartition("@")[2]
    return {GROUP_SERVER: "group", NEWSLETTER_SERVER: "newsletter"}.get(server, "direct")


def is_encrypted(chat: str) -> bool:
    """Return whether messages to this chat are encrypted end to end.

    Before such a message leaves, the engine commits the next step of its session to our PostgreSQL and waits for that.
    """
    return chat.rpartition("@")[2] in (PHONE_SERVER, LID_SERVER, GROUP_SERVER)
