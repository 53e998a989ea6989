"""Makes identifiers: ULIDs (48 bits of milliseconds, 80 random bits, Crockford base 32), so they sort by time."""

import secrets
import time

from bridge.domain.ids import CommandId, EndpointId, EventId, InstanceKey, KeyId, MediaId, NodeId

_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_PAIRS = tuple(first + second for first in _CROCKFORD for second in _CROCKFORD)
"""Ten bits at a time: there are several ids for each message."""


def ulid() -> str:
    """Return 26 characters; later calls of another millisecond sort behind earlier ones."""
    return _encode(time.time_ns() // 1_000_000 << 80 | secrets.randbits(80))


def _encode(value: int) -> str:
    return "".join([_PAIRS[value >> shift & 1023] for shift in range(120, -1, -10)])


def new_event_id() -> EventId:
    return EventId("evt_" + ulid())


def first_event_id(at: float) -> EventId:
    """Return an id that sorts before those of all events made at or after `at`, in seconds since 1970."""
    return EventId("evt_" + _encode(int(at * 1000) << 80))


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
