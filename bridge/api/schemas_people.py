"""The bodies of requests and answers about people: contacts, the instance's own profile, presence."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, Struct, UnsetType, field

from bridge.store.contacts import ContactRow


class Contact(Struct, frozen=True):
    """A person whom the instance knows. Both addresses, as far as WhatsApp has told them."""

    jid: str
    lid: str | None
    phone: str | None
    name: str | None
    push_name: str | None
    business: bool
    business_name: str | None


class ContactList(Struct, frozen=True):
    """Answer of GET /contact/{key}; `count` is the length of this page."""

    contacts: Sequence[Contact]
    count: int
    next_cursor: str | None


class ContactDetail(Struct, frozen=True):
    """Answer of GET /contact/{key}/{id}: what is known of a person, and what WhatsApp shows now."""

    jid: str
    lid: str | None
    phone: str | None
    name: str | None
    push_name: str | None
    business: bool
    business_name: str | None
    about: str | None
    avatar_id: str | None
    avatar_url: str | UnsetType | None = UNSET
    """Only when `avatar` was asked for; null when there is none, or it is hidden."""


class Block(Struct, frozen=True):
    """Body of PUT /contact/{key}/{id}/block."""

    blocked: bool


class Blocked(Struct, frozen=True):
    """Answer of PUT /contact/{key}/{id}/block."""

    status: str
    instance_key: str
    jid: str
    blocked: bool


class Followed(Struct, frozen=True):
    """Answer of POST /contact/{key}/{id}/follow."""

    status: str
    instance_key: str
    jid: str


class ChangeProfile(Struct, frozen=True):
    """Body of PATCH /profile/{key}: what is given is changed."""

    name: Annotated[str, Meta(min_length=1, max_length=25)] | None = None
    """WhatsApp's own limit of a name is 25 characters."""
    about: Annotated[str, Meta(max_length=139)] | None = None
    """WhatsApp's own limit of the about text is 139 characters."""
    picture_media_id: Any = None
    privacy: dict[str, str] | None = None


class Profile(Struct, frozen=True):
    """Answer of GET and PATCH /profile/{key}."""

    instance_key: str
    phone_number: str
    jid: str | None
    lid: str | None
    name: str | None
    about: str | None
    avatar_id: str | None
    avatar_url: str | None
    privacy: Mapping[str, str]


class SetPresence(Struct, frozen=True):
    """Body of POST /presence."""

    state: Literal["available", "unavailable"]
    instance_key: str | None = None


class SetChatPresence(Struct, frozen=True):
    """Body of POST /chat/presence."""

    chat: str
    state: Literal["typing", "recording", "paused"]
    instance_key: str | None = None


class RejectCall(Struct, frozen=True):
    """Body of POST /call/reject, with what the event `call.offer` tells: its `call_id` and `from`."""

    call_id: Annotated[str, Meta(pattern="^[!-~]{1,64}$")]
    from_: str = field(name="from")
    instance_key: str | None = None
    reply_message: Any = None


class Rejected(Struct, frozen=True):
    """Answer of POST /call/reject."""

    status: str
    instance_key: str
    call_id: str


class Ok(Struct, frozen=True):
    """Answer of a call that has nothing to tell but that it was done."""

    status: str
    instance_key: str


def contact(row: ContactRow) -> Contact:
    return Contact(
        jid=f"{row.phone}@s.whatsapp.net" if row.phone else f"{row.lid}@lid",
        lid=f"{row.lid}@lid" if row.lid else None,
        phone=row.phone,
        name=row.name,
        push_name=row.push_name,
        business=row.business_name is not None,
        business_name=row.business_name,
    )
