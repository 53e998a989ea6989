"""Media as the bridge knows it: what a message carries, when a download is tried again, and how it ends. Pure."""

import hashlib
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal

from bridge.domain.ids import InstanceKey, MediaId

Kind = Literal["image", "video", "audio", "document", "sticker"]

DAY_S = 86_400.0
WAITS_S = (5.0, 30.0, 120.0, 600.0, 3_600.0, 21_600.0)
"""Seconds between the attempts to download a file; after the last of them it has failed."""
JITTER = 0.2
GONE_ATTEMPTS = 3
"""So many times in a row WhatsApp has to say that it does not have a file before that is believed."""
_GONE = ("status code 403", "status code 404", "status code 410")
"""whatsmeow's words for it. A host that has not got the file yet says the same, so once is not enough."""
_NEVER = (
    "no url present",
    "nothing downloadable found",
    "hash of media",
    "hash of unencrypted",
    "invalid media hmac",
    "length does not",
)
"""What another attempt would not change: the message names no file, or its keys do not fit the file."""
_ID_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_YEAR_3000_S = 32_503_680_000.0


@dataclass(frozen=True, slots=True)
class Media:
    """A file that a message carries: where it is at WhatsApp and what its sender says about it."""

    kind: Kind
    mime_type: str
    source: bytes
    """A serialised `waE2E.Message` with nothing but the part that names the file and its keys."""
    filename: str = ""
    size_bytes: int = 0
    facts: Mapping[str, object] = field(default_factory=dict)
    """`width`, `height`, `duration_s`, `pages`, `is_ptt`, as far as they are known."""


@dataclass(frozen=True, slots=True)
class Retry:
    """Try again after so many seconds."""

    after_s: float
    gone: int
    """How many times in a row WhatsApp has said that it has no such file."""


@dataclass(frozen=True, slots=True)
class Over:
    """No further attempt is made."""

    status: Literal["expired", "failed"]


def after_failure(error: str, *, attempts: int, gone: int, jitter: float) -> Retry | Over:
    """Say what follows an attempt that ended with `error`.

    `attempts` counts it (1 or more), `gone` counts the ones before it in a row that WhatsApp answered with 403, 404 or
    410; `jitter` is a random number in [-1, 1].
    """
    lowered = error.lower()
    if any(text in lowered for text in _NEVER):
        return Over("failed")
    gone = gone + 1 if any(text in lowered for text in _GONE) else 0
    if gone >= GONE_ATTEMPTS:
        return Over("expired")
    if attempts > len(WAITS_S):
        return Over("expired" if gone else "failed")
    return Retry(WAITS_S[attempts - 1] * (1 + JITTER * jitter), gone)


def media_id(instance: InstanceKey, occasion: str) -> MediaId:
    """Return the id of the file of a message: the same for two reports of the same message."""
    number = int.from_bytes(hashlib.sha256(f"{instance}|{occasion}".encode()).digest()[:16])
    return MediaId("med_" + "".join(_ID_ALPHABET[number >> shift & 31] for shift in range(125, -1, -5)))


def media_path(instance: InstanceKey, at: float, token: str, extension: str) -> str:
    """Return `{instance_key}/{date}/{unix seconds}-{uuid}{extension}`, the original's form.

    The UUID is made of `token`, so that two reports of the same message agree; `extension` has its dot.
    """
    at = at if 0 <= at < _YEAR_3000_S else 0.0
    day = datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d")
    return f"{instance}/{day}/{int(at)}-{uuid.uuid5(uuid.NAMESPACE_OID, token)}{extension}"
