"""Makes identifiers: ULIDs (48 bits of milliseconds, 80 random bits, Crockford base 32), so they sort by time."""

import os
import secrets
import time
from functools import lru_cache

from bridge.domain.ids import CommandId, EndpointId, EventId, InstanceKey, KeyId, MediaId, NodeId

_CROCKFORD = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_CHARACTER = bytes(_CROCKFORD[byte & 31] for byte in range(256))
"""For each random byte the character that its lowest five bits stand for."""
_TIME_CHARACTERS, _RANDOM_CHARACTERS = 10, 16


def ulid() -> str:
    """Return 26 characters; later calls of another millisecond sort behind earlier ones."""
    return _time(time.time_ns() // 1_000_000) + os.urandom(_RANDOM_CHARACTERS).translate(_CHARACTER).decode()


@lru_cache(maxsize=4)  # there are several ids for each message
def _time(ms: int) -> str:
    shifts = range(5 * (_TIME_CHARACTERS - 1), -1, -5)
    return bytes([_CROCKFORD[ms >> shift & 31] for shift in shifts]).decode()


def new_event_id() -> EventId:
    return EventId("evt_" + ulid())


def first_event_id(at: float) -> EventId:
    """Return an id that sorts before those of all events made at or after `at`, in seconds since 1970."""
    return EventId("evt_" + _time(int(at * 1000)) + "0" * _RANDOM_CHARACTERS)


def new_command_id() -> CommandId:
    return CommandId("cmd_" + ulid())


def new_endpoint_id() -> EndpointId:
    return EndpointId("whk_" + ulid())


def new_replay_id() -> str:
    return "rpl_" + ulid()


def new_key_id() -> KeyId:
    return KeyId("key_" + ulid())


def new_audit_id() -> str:
    return "aud_" + ulid()


def new_media_id() -> MediaId:
    return MediaId("med_" + ulid())


def new_node_id() -> NodeId:
    return NodeId("node_" + ulid())


def new_instance_key() -> InstanceKey:
    """Return 128 random bits as 32 lower-case hex characters, the original's form."""
    return InstanceKey(secrets.token_hex(16))
