"""All that two devices have with each other: usually one session, several when both began at once.

Both sides may send a first message before either has seen the other's. Then there are two sessions, each side prefers
another one, and both must be readable. So the states are kept in a list, the preferred one first; what arrives is tried
on all of them, and the one that fits becomes the preferred one ("The Sesame Algorithm", section 3; libsignal's session
record). After a few messages both sides prefer the same. A first message that arrives again (a retry, a redelivery)
belongs to the state with its base key and does not begin another one.
"""

from typing import Final, Literal, NamedTuple

import msgspec

from bridge.sandbox.signal.errors import NoSession, Undecryptable
from bridge.sandbox.signal.identity import DeviceKeys, PreKeyBundle
from bridge.sandbox.signal.ratchet import Ratchet
from bridge.sandbox.signal.wire import PreKeyMessage, SignalMessage

MAX_STATES: Final = 40
"""How many states libsignal keeps for one address."""

Kind = Literal["pkmsg", "msg"]

_ENCODE = msgspec.msgpack.Encoder().encode
_DECODE = msgspec.msgpack.Decoder(list[Ratchet]).decode


class Ciphertext(NamedTuple):
    """An encrypted message, and the `type` of its `<enc>` node: pkmsg until the other side has answered."""

    kind: Kind
    body: bytes


class Session:
    """The sessions of our device with one other device."""

    __slots__ = ("_keys", "_states")

    def __init__(self, keys: DeviceKeys, states: list[Ratchet] | None = None) -> None:
        """Begin with nothing; the first message to arrive or `start` changes that."""
        self._keys = keys
        self._states = states or []

    @classmethod
    def outgoing(cls, keys: DeviceKeys, bundle: PreKeyBundle) -> "Session":
        """Return a session that we begin."""
        session = cls(keys)
        session.start(bundle)
        return session

    @classmethod
    def incoming(cls, keys: DeviceKeys, kind: Kind, body: bytes) -> tuple["Session", bytes]:
        """Return the session that a first message begins, and that message's plaintext."""
        session = cls(keys)
        return session, session.decrypt(kind, body)

    @property
    def can_send(self) -> bool:
        return bool(self._states)

    def start(self, bundle: PreKeyBundle) -> None:
        """Begin anew, as one does after a retry receipt; older states stay readable."""
        self._prefer(Ratchet.outgoing(self._keys, bundle))

    def encrypt(self, plaintext: bytes) -> Ciphertext:
        """Return the plaintext under the preferred state; raise `NoSession` where there is none."""
        if not self._states:
            raise NoSession
        state = self._states[0]
        kind: Kind = "pkmsg" if state.pending is not None else "msg"
        return Ciphertext(kind, state.encrypt(plaintext))

    def decrypt(self, kind: Kind, body: bytes) -> bytes:
        """Return the plaintext; raise `Duplicate` for one that was read before, else a kind of `Undecryptable`."""
        return self._decrypt_first(PreKeyMessage.parse(body)) if kind == "pkmsg" else self._decrypt_any(body)

    def _decrypt_first(self, first: PreKeyMessage) -> bytes:
        message = SignalMessage.parse(first.message)
        for state in self._states:
            if state.base_key == first.base_key and state.remote_identity == first.identity:
                plaintext = state.decrypt(message)
                self._prefer(state)
                return plaintext
        try:
            state = Ratchet.incoming(self._keys, first)
        except ValueError as error:
            raise Undecryptable("not a Curve25519 key") from error
        plaintext = state.decrypt(message)
        if first.one_time_id is not None:
            del self._keys.one_time[first.one_time_id]  # after the proof only: a forger must not use prekeys up
        self._prefer(state)
        return plaintext

    def _decrypt_any(self, body: bytes) -> bytes:
        if not self._states:
            raise NoSession
        message = SignalMessage.parse(body)
        # A state that has seen the ratchet key needs no key agreement to find out, so those come first.
        refused: Undecryptable | None = None
        for state in sorted(self._states, key=lambda state: not state.knows(message.ratchet_key)):
            try:
                plaintext = state.decrypt(message)
            except Undecryptable as error:
                refused = refused or error  # the first state is the likeliest, so its reason is the one to tell
                continue
            self._prefer(state)
            return plaintext
        assert refused is not None
        raise refused

    def _prefer(self, state: Ratchet) -> None:
        if not self._states or self._states[0] is not state:
            self._states = [state, *(other for other in self._states if other is not state)][:MAX_STATES]

    def to_bytes(self) -> bytes:
        """Return all states, without the device's own keys."""
        return _ENCODE(self._states)

    @classmethod
    def from_bytes(cls, data: bytes, keys: DeviceKeys) -> "Session":
        """Return the session that `to_bytes` stored, of the device with these keys."""
        return cls(keys, _DECODE(data))
