"""The kinds of identifiers. Values are opaque: nobody outside `bridge.ids` builds or takes one apart."""

from typing import NewType

InstanceKey = NewType("InstanceKey", str)
"""32 lower-case hex characters."""
EventId = NewType("EventId", str)
"""`evt_` and a ULID: unique, stable over all attempts, what a receiver de-duplicates by."""
CommandId = NewType("CommandId", str)
"""`cmd_` and a ULID."""
EndpointId = NewType("EndpointId", str)
"""`whk_` and a ULID."""
KeyId = NewType("KeyId", str)
"""`key_` and a ULID."""
MessageId = NewType("MessageId", str)
"""WhatsApp's message id: unique only together with chat and sender."""
MediaId = NewType("MediaId", str)
"""`med_` and 26 characters of a ULID's alphabet."""
NodeId = NewType("NodeId", str)
"""The bridge process that owns a row; new at every start."""
Epoch = NewType("Epoch", int)
"""Counts the owners of an instance; a write under an old epoch is refused."""
