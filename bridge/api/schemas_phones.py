"""The bodies of requests about phone numbers, and of the answers to them."""

from collections.abc import Sequence
from typing import Annotated, Any

from msgspec import Meta, Struct


class OnePhone(Struct, frozen=True):
    """Body of POST /phone/validate, /phone/test-exists and /phone/phone-to-lid."""

    phone: Annotated[str, Meta(min_length=1)]
    instance_key: str | None = None


class OneLid(Struct, frozen=True):
    """Body of POST /phone/lid-to-phone."""

    lid: Annotated[str, Meta(min_length=1)]
    instance_key: str | None = None


class ManyPhones(Struct, frozen=True):
    """Body of POST /phone/check; `fresh` asks WhatsApp also about numbers that it knew within the last hour."""

    phones: Annotated[list[str], Meta(min_length=1, max_length=50)]
    instance_key: str | None = None
    fresh: bool = False


class Validated(Struct, frozen=True):
    """Answer of POST /phone/validate. `valid_phone` is the spelling that WhatsApp knows, or the given one."""

    status: str
    original_phone: str
    valid_phone: str
    exists: bool
    jid: str | None
    lid: str | None
    message: str


class ExistsDetail(Struct, frozen=True):
    """One answer of WhatsApp's."""

    jid: str
    is_in: bool


class Exists(Struct, frozen=True):
    """Answer of POST /phone/test-exists, as the original's."""

    phone: str
    exists: bool
    raw_response: Any
    details: Sequence[ExistsDetail]


class Checked(Struct, frozen=True):
    """What is known of one number."""

    phone: str
    exists: bool
    jid: str | None
    lid: str | None
    verified_name: str | None


class CheckedPhones(Struct, frozen=True):
    """Answer of POST /phone/check; `cached` says whether WhatsApp was not asked about any of them."""

    results: Sequence[Checked]
    cached: bool


class LidPhone(Struct, frozen=True):
    """Answer of POST /phone/lid-to-phone."""

    status: str
    lid: str
    phone_number: str | None
    exists: bool
    message: str


class PhoneLid(Struct, frozen=True):
    """Answer of POST /phone/phone-to-lid."""

    status: str
    phone: str
    lid: str | None
    exists: bool
    message: str
