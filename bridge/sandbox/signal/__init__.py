"""The end-to-end encryption between devices, as a phone has it: Signal's protocol in pure Python.

Read it from the bottom: `kdf` (the key derivations), `wire` (the four messages), `identity` (what a device publishes so
that others can write to it first), `ratchet` (X3DH and the Double Ratchet between two devices), `session` (all that two
devices have with each other, because both may begin at once), `group` (sender keys), `device` (everything of one
simulated phone, to be stored and restored).

Sources: "The X3DH Key Agreement Protocol" and "The Double Ratchet Algorithm" (signal.org/docs), and where they leave a
choice, libsignal's: the names given to HKDF, the bounds, and that old chains are kept instead of counting the previous
one out. Nothing here is meant to guard a real secret; it is meant to be understood by a real client.
"""

from bridge.sandbox.signal.device import SignalDevice
from bridge.sandbox.signal.errors import (
    Duplicate,
    NoSession,
    PreKeyGone,
    SignalError,
    TooFarAhead,
    Undecryptable,
)
from bridge.sandbox.signal.group import SenderKey, SenderKeyRing
from bridge.sandbox.signal.identity import DeviceKeys, PreKeyBundle
from bridge.sandbox.signal.session import Ciphertext, Session
from bridge.sandbox.signal.wire import pad, unpad

__all__ = [
    "Ciphertext",
    "DeviceKeys",
    "Duplicate",
    "NoSession",
    "PreKeyBundle",
    "PreKeyGone",
    "SenderKey",
    "SenderKeyRing",
    "Session",
    "SignalDevice",
    "SignalError",
    "TooFarAhead",
    "Undecryptable",
    "pad",
    "unpad",
]
