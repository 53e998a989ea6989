"""Signs webhooks by Standard Webhooks 1.0: HMAC-SHA256 over id, timestamp and body.

A secret is raw bytes in the store; its users see `whsec_` and base64, which is what the libraries of the standard take.
"""

import base64
import binascii
import hashlib
import hmac
import secrets
from collections.abc import Sequence

from bridge.errors import BridgeError

PREFIX = "whsec_"
SECRET_BYTES = 32
SECRET_MIN_BYTES, SECRET_MAX_BYTES = 24, 64


class BadSecret(BridgeError):
    """A webhook secret is `whsec_` and 24 to 64 bytes in base64."""

    code = "bad_secret"
    status = 422


def new_secret() -> bytes:
    return secrets.token_bytes(SECRET_BYTES)


def show(secret: bytes) -> str:
    """Return the form that users and their libraries take."""
    return PREFIX + base64.b64encode(secret).decode()


def read(text: str) -> bytes:
    """Return the bytes of a secret that a user gave; raise `BadSecret`."""
    try:
        secret = base64.b64decode(text.removeprefix(PREFIX), validate=True)
    except (binascii.Error, ValueError) as error:
        raise BadSecret from error
    if not SECRET_MIN_BYTES <= len(secret) <= SECRET_MAX_BYTES:
        raise BadSecret(f"It has {len(secret)}.")
    return secret


def sign(keys: Sequence[bytes], webhook_id: str, timestamp: int, body: bytes) -> str:
    """Return the value of `webhook-signature`: one signature per key, two of them during a rotation."""
    signed = b"%s.%d.%s" % (webhook_id.encode(), timestamp, body)
    return " ".join("v1," + base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode() for key in keys)
