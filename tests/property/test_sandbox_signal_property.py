"""Any order of sending, delivering, delaying, repeating and killing: what is delivered is read, and read once."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule

from bridge.sandbox.signal import Ciphertext, DeviceKeys, Duplicate, Session, Undecryptable
from bridge.sandbox.signal.ratchet import MAX_RECEIVING_CHAINS

_KEYS = {"alice": DeviceKeys(one_time_keys=0).to_bytes(), "bob": DeviceKeys(one_time_keys=0).to_bytes()}
_OTHER = {"alice": "bob", "bob": "alice"}
names = st.sampled_from(["alice", "bob"])


class Conversation(RuleBasedStateMachine):
    """Two devices and a network that keeps every message and may deliver it at any time."""

    sent = Bundle("sent")

    def __init__(self) -> None:
        super().__init__()
        self.keys = {name: DeviceKeys.from_bytes(data) for name, data in _KEYS.items()}
        self.sessions = {name: Session(keys) for name, keys in self.keys.items()}
        self.read: set[int] = set()
        self.count = 0

    @rule(target=sent, name=names)
    def send(self, name: str) -> tuple[str, int, Ciphertext]:
        session = self.sessions[name]
        if not session.can_send:
            session.start(self.keys[_OTHER[name]].bundle())
        self.count += 1
        return _OTHER[name], self.count, session.encrypt(b"%d" % self.count)

    @rule(message=sent)
    def deliver(self, message: tuple[str, int, Ciphertext]) -> None:
        name, number, ciphertext = message
        session = self.sessions[name]
        if number in self.read:
            # As a duplicate where its chain is still kept, as unreadable where that is long gone: never as a message.
            with pytest.raises((Duplicate, Undecryptable)):
                session.decrypt(*ciphertext)
            return
        chains_before = max((len(state.receiving) for state in session._states), default=0)
        try:
            assert session.decrypt(*ciphertext) == b"%d" % number
        except Undecryptable:
            assert chains_before == MAX_RECEIVING_CHAINS, "only a message of a chain that was dropped may be lost"
        else:
            self.read.add(number)

    @rule(name=names)
    def kill_and_resume(self, name: str) -> None:
        self.keys[name] = DeviceKeys.from_bytes(self.keys[name].to_bytes())
        self.sessions[name] = Session.from_bytes(self.sessions[name].to_bytes(), self.keys[name])

    @rule(name=names)
    def begin_anew(self, name: str) -> None:
        self.sessions[name].start(self.keys[_OTHER[name]].bundle())

    @invariant()
    def bounds_hold(self) -> None:
        for session in self.sessions.values():
            assert all(len(state.receiving) <= MAX_RECEIVING_CHAINS for state in session._states)


TestConversation = Conversation.TestCase
TestConversation.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
