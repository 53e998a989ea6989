"""The header Idempotency-Key: what makes a repeated POST answer like the first instead of acting twice."""

import hashlib
import re
from collections.abc import Mapping

import msgspec

from bridge.api.problems import InvalidField
from bridge.domain.ids import EndpointId, InstanceKey, KeyId

_VALID = re.compile(rb"[\x21-\x7e]([\x20-\x7e]{0,253}[\x21-\x7e])?")


def idempotency_key(headers: Mapping[bytes, bytes]) -> str | None:
    """Return the key that a request carries; raise `InvalidField` unless it is 1 to 255 printable ASCII characters."""
    raw = headers.get(b"idempotency-key")
    if raw is None:
        return None
    if not _VALID.fullmatch(raw):
        raise InvalidField("Idempotency-Key", "must be 1 to 255 printable ASCII characters")
    return raw.decode("ascii")


def request_hash(kind: str, meaning: object) -> bytes:
    """Return 32 bytes that are equal for two requests that mean the same, however their JSON was written."""
    return hashlib.sha256(msgspec.json.encode((kind, meaning), order="deterministic")).digest()


def derived_instance_key(key: str) -> InstanceKey:
    """Return the instance key that every create with this idempotency key has: the row itself is the memory."""
    return InstanceKey(hashlib.sha256(b"instance/create\0" + key.encode()).hexdigest()[:32])


def derived_key_id(key: str, purpose: str = "keys") -> KeyId:
    """Return the id of the API key that comes with such a request: it is made once, and shown once."""
    return KeyId("key_" + hashlib.sha256(f"{purpose}\0{key}".encode()).hexdigest()[:26].upper())


def named_replay_id(key: str, endpoint: str) -> str:
    """Return the id of the replay that every request to an endpoint with this idempotency key makes, or finds."""
    return "rpl_" + hashlib.sha256(f"replay\0{endpoint}\0{key}".encode()).hexdigest()[:26].upper()


def named_endpoint_id(key: str) -> EndpointId:
    """Return the id of the endpoint that every POST /webhooks with this idempotency key makes, or finds."""
    return EndpointId("whk_" + hashlib.sha256(b"webhooks\0" + key.encode()).hexdigest()[:26].upper())


def derived_endpoint_id(key: str) -> EndpointId:
    """Return the id of the endpoint that comes with such a create: writing it twice leaves one."""
    return EndpointId("whk_" + hashlib.sha256(b"instance/create/webhook\0" + key.encode()).hexdigest()[:26].upper())
