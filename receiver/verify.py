"""Decides whether a webhook is genuine: Standard Webhooks 1.0, symmetric signatures (`v1`), several secrets at once.

Pure: the caller brings headers, body and time. The signed content is `id.timestamp.body` as sent, byte by byte.
Source: https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md

Where it is configured, Meta's form counts as well: `X-Hub-Signature-256: sha256=<hex HMAC-SHA256 of the body>` under an
app's secret. It signs neither an id nor a time, so that a copy of an old webhook is known by its body only.
Source: https://developers.facebook.com/docs/graph-api/webhooks/getting-started (validating payloads)
"""

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NewType

from receiver.errors import BadHeader, BadSignature, ConfigError, StaleTimestamp

Secret = NewType("Secret", bytes)
"""The key of the HMAC: 24 to 64 bytes, as the specification asks."""

TOLERANCE_S = 5 * 60
_PREFIX = "whsec_"
_WEBHOOK_ID = re.compile(rb"[!-\-/-~]{1,255}")  # visible ASCII but the dot, which ends the id in the signed content
_META_SIGNATURE = re.compile(rb"sha256=[0-9a-fA-F]{64}")
META_HEADER = b"x-hub-signature-256"
_TIMESTAMP = re.compile(rb"[0-9]{1,12}")


@dataclass(frozen=True, slots=True)
class Verified:
    """A webhook that one of our secrets signed, within the tolerance; Meta's form has no time."""

    webhook_id: str
    sent_at_s: int | None


def parse_secret(text: str) -> Secret:
    """Return the key of `whsec_<base64>` (the prefix may be missing); raise `ConfigError`."""
    try:
        encoded = text.strip().removeprefix(_PREFIX)
        key = base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise ConfigError("a webhook secret is whsec_ and base64") from None
    if not 24 <= len(key) <= 64:
        raise ConfigError(f"a webhook secret has 24 to 64 bytes, not {len(key)}")
    return Secret(key)


def parse_secrets(texts: Iterable[str]) -> tuple[Secret, ...]:
    """Return the keys in `texts`, each of which may hold several, separated by spaces, commas or line ends."""
    return tuple(dict.fromkeys(parse_secret(part) for text in texts for part in re.split(r"[\s,]+", text) if part))


def verify(secrets: Sequence[Secret], headers: Mapping[bytes, bytes], body: bytes, now_s: float) -> Verified:
    """Return who sent what when, or raise `BadHeader`, `StaleTimestamp` or `BadSignature`.

    `headers` has lower-case names. Every secret is tried against every `v1` signature, whatever matched before, so
    that the time it takes tells nothing.
    """
    webhook_id = _header(headers, b"webhook-id", _WEBHOOK_ID)
    timestamp = _header(headers, b"webhook-timestamp", _TIMESTAMP)
    signatures = headers.get(b"webhook-signature")
    if not signatures:
        raise BadHeader("webhook-signature")
    if abs(now_s - int(timestamp)) > TOLERANCE_S:
        raise StaleTimestamp
    signed = b"%b.%b.%b" % (webhook_id, timestamp, body)
    offered = [part[3:] for part in signatures.split(b" ") if part.startswith(b"v1,")]
    matches = 0
    for secret in secrets:
        expected = binascii.b2a_base64(hmac.digest(secret, signed, "sha256"), newline=False)
        for signature in offered:
            matches += hmac.compare_digest(expected, signature)
    if not matches:
        raise BadSignature
    return Verified(webhook_id.decode("ascii"), int(timestamp))


def verify_meta(secrets: Sequence[bytes], headers: Mapping[bytes, bytes], body: bytes) -> Verified:
    """Return a webhook in Meta's form, or raise `BadHeader` or `BadSignature`.

    Its id is made of the body's hash, for nothing else of it is signed: the same body is the same webhook.
    """
    signature = _header(headers, META_HEADER, _META_SIGNATURE).removeprefix(b"sha256=").lower()
    matches = 0
    for secret in secrets:
        matches += hmac.compare_digest(hmac.digest(secret, body, "sha256").hex().encode(), signature)
    if not matches:
        raise BadSignature
    return Verified(f"meta_{hashlib.sha256(body).hexdigest()}", None)


def _header(headers: Mapping[bytes, bytes], name: bytes, form: re.Pattern[bytes]) -> bytes:
    value = headers.get(name, b"")
    if form.fullmatch(value) is None:
        raise BadHeader(name.decode("ascii"))
    return value
