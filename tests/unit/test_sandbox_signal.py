"""The encryption of the simulated phones: what is sent arrives once, in whatever order, through kills and forgeries."""

import pytest

from bridge.sandbox.keys import KeyPair
from bridge.sandbox.signal import (
    DeviceKeys,
    Duplicate,
    NoSession,
    PreKeyGone,
    SenderKey,
    SenderKeyRing,
    Session,
    SignalDevice,
    TooFarAhead,
    Undecryptable,
    pad,
    unpad,
)
from bridge.sandbox.signal.identity import BadSignature, PreKeyBundle
from bridge.sandbox.signal.kdf import MAX_AHEAD
from bridge.sandbox.signal.session import MAX_STATES


def _pair(one_time_id: int | None = 1) -> tuple[Session, Session]:
    """Return the sessions of two devices of which the first is about to write."""
    bob = DeviceKeys(one_time_keys=1)
    return Session.outgoing(DeviceKeys(one_time_keys=0), bob.bundle(one_time_id)), Session(bob)


def _acquainted() -> tuple[Session, Session]:
    alice, bob = _pair()
    bob.decrypt(*alice.encrypt(b"hello"))
    alice.decrypt(*bob.encrypt(b"hello"))
    return alice, bob


@pytest.mark.parametrize("one_time_id", [1, None])
def test_two_devices_talk_with_and_without_a_one_time_prekey(one_time_id: int | None) -> None:
    alice, bob = _pair(one_time_id)
    for number in range(5):
        text = b"%d" % number
        assert bob.decrypt(*alice.encrypt(text)) == text
        assert alice.decrypt(*bob.encrypt(text)) == text


def test_first_messages_are_prekey_messages_until_the_answer() -> None:
    alice, bob = _pair()
    first, second = alice.encrypt(b"1"), alice.encrypt(b"2")
    assert (first.kind, second.kind) == ("pkmsg", "pkmsg")
    bob.decrypt(*first)
    answer = bob.encrypt(b"3")
    assert answer.kind == "msg"
    alice.decrypt(*answer)
    assert alice.encrypt(b"4").kind == "msg"


def test_the_second_of_two_first_messages_may_arrive_first() -> None:
    alice, bob = _pair()
    first, second = alice.encrypt(b"1"), alice.encrypt(b"2")
    assert bob.decrypt(*second) == b"2"
    assert bob.decrypt(*first) == b"1"


def test_messages_arrive_in_any_order_across_turns() -> None:
    alice, bob = _acquainted()
    late = [alice.encrypt(b"old %d" % number) for number in range(5)]
    bob.decrypt(*late[0])
    alice.decrypt(*bob.encrypt(b"turn"))
    new = [alice.encrypt(b"new %d" % number) for number in range(3)]
    assert [bob.decrypt(*message) for message in reversed(new)] == [b"new 2", b"new 1", b"new 0"]
    assert [bob.decrypt(*message) for message in reversed(late[1:])] == [b"old 4", b"old 3", b"old 2", b"old 1"]


def test_a_message_is_read_once() -> None:
    alice, bob = _acquainted()
    skipped, message = alice.encrypt(b"skipped"), alice.encrypt(b"once")
    for ciphertext in (message, skipped):
        bob.decrypt(*ciphertext)
        with pytest.raises(Duplicate):
            bob.decrypt(*ciphertext)


def test_a_repeated_first_message_begins_no_second_session_and_uses_no_second_prekey() -> None:
    alice, bob = _pair()
    first = alice.encrypt(b"1")
    bob.decrypt(*first)
    with pytest.raises(Duplicate):
        bob.decrypt(*first)
    assert bob.decrypt(*alice.encrypt(b"2")) == b"2"


def test_both_may_begin_at_once() -> None:
    alice_keys, bob_keys = DeviceKeys(), DeviceKeys()
    alice = Session.outgoing(alice_keys, bob_keys.bundle(1))
    bob = Session.outgoing(bob_keys, alice_keys.bundle(1))
    from_alice, from_bob = alice.encrypt(b"a"), bob.encrypt(b"b")
    assert (from_alice.kind, from_bob.kind) == ("pkmsg", "pkmsg")
    assert (bob.decrypt(*from_alice), alice.decrypt(*from_bob)) == (b"a", b"b")
    for number in range(6):  # both write at once again and again, then in turns
        text = b"%d" % number
        from_alice, from_bob = alice.encrypt(text), bob.encrypt(text)
        assert (bob.decrypt(*from_alice), alice.decrypt(*from_bob)) == (text, text)
    for _ in range(3):
        assert bob.decrypt(*alice.encrypt(b"turn")) == b"turn"
        assert alice.decrypt(*bob.encrypt(b"turn")) == b"turn"


def test_a_new_session_after_a_retry_leaves_older_messages_readable() -> None:
    alice, bob = _acquainted()
    late = alice.encrypt(b"late")
    alice.start(bob._keys.bundle())
    assert bob.decrypt(*alice.encrypt(b"again")) == b"again"
    assert bob.decrypt(*late) == b"late"


def test_states_are_bounded() -> None:
    alice, bob = _acquainted()
    for _ in range(MAX_STATES + 5):
        alice.start(bob._keys.bundle())
    assert len(alice._states) == MAX_STATES


def test_a_forgery_changes_nothing() -> None:
    alice, bob = _acquainted()
    kind, body = alice.encrypt(b"genuine")
    before = bob.to_bytes()
    for at in range(0, len(body), 7):
        with pytest.raises((Undecryptable, Duplicate)):
            bob.decrypt(kind, body[:at] + bytes((body[at] ^ 0x40,)) + body[at + 1 :])
    assert bob.to_bytes() == before
    assert bob.decrypt(kind, body) == b"genuine"


def test_a_forged_first_message_uses_no_prekey_up() -> None:
    alice, bob = _pair()
    kind, body = alice.encrypt(b"genuine")
    forged = bytearray(body)
    forged[body.index(b"\x22") + 60] ^= 1  # somewhere inside the message that the prekeys wrap
    with pytest.raises(Undecryptable):
        bob.decrypt(kind, bytes(forged))
    assert bob.decrypt(kind, body) == b"genuine"


def test_a_used_one_time_prekey_begins_no_other_session() -> None:
    alice, bob = _pair()
    bundle = bob._keys.bundle(1)
    bob.decrypt(*alice.encrypt(b"first"))
    other = Session.outgoing(DeviceKeys(one_time_keys=0), bundle)
    with pytest.raises(PreKeyGone):
        bob.decrypt(*other.encrypt(b"with the same prekey"))


def test_a_bundle_whose_prekey_was_exchanged_is_refused() -> None:
    genuine = DeviceKeys(one_time_keys=0).bundle()
    forged = PreKeyBundle(
        genuine.registration_id, genuine.identity, genuine.signed_id, KeyPair().public, genuine.signature
    )
    with pytest.raises(BadSignature):
        Session.outgoing(DeviceKeys(one_time_keys=0), forged)


def test_a_gap_is_bridged_up_to_the_bound_and_no_further() -> None:
    alice, bob = _acquainted()
    messages = [alice.encrypt(b"%d" % number) for number in range(MAX_AHEAD + 2)]
    with pytest.raises(TooFarAhead):
        bob.decrypt(*messages[-1])
    assert bob.decrypt(*messages[-2]) == b"%d" % MAX_AHEAD
    assert bob.decrypt(*messages[0]) == b"0"


def test_keys_of_missing_messages_are_kept_up_to_the_bound_the_oldest_go_first() -> None:
    alice, bob = _acquainted()
    half = MAX_AHEAD // 2 + 100
    messages = [alice.encrypt(b"%d" % number) for number in range(2 * half)]
    bob.decrypt(*messages[half])
    bob.decrypt(*messages[-1])
    assert sum(len(chain.skipped) for chain in bob._states[0].receiving) == MAX_AHEAD
    assert bob.decrypt(*messages[half - 1]) == b"%d" % (half - 1)
    with pytest.raises(Duplicate):
        bob.decrypt(*messages[0])


def test_a_message_without_a_session_says_so() -> None:
    alice, _ = _acquainted()
    stranger = Session(DeviceKeys(one_time_keys=0))
    with pytest.raises(NoSession):
        stranger.decrypt(*alice.encrypt(b"hello"))
    with pytest.raises(NoSession):
        stranger.encrypt(b"hello")


def test_a_session_continues_from_its_stored_form_at_any_point() -> None:
    alice, bob = _pair()
    alice_keys, bob_keys = alice._keys.to_bytes(), b""
    late = []
    for number in range(12):
        alice = Session.from_bytes(alice.to_bytes(), DeviceKeys.from_bytes(alice_keys))
        bob_keys = bob._keys.to_bytes()
        bob = Session.from_bytes(bob.to_bytes(), DeviceKeys.from_bytes(bob_keys))
        late.append((bob, alice.encrypt(b"late %d" % number)))
        assert bob.decrypt(*alice.encrypt(b"%d" % number)) == b"%d" % number
        if number % 3 == 2:
            assert alice.decrypt(*bob.encrypt(b"turn")) == b"turn"
    for number, (_, message) in list(enumerate(late))[-9:]:
        assert bob.decrypt(*message) == b"late %d" % number


def test_a_group_reads_its_sender_in_any_order_and_once() -> None:
    owner = SenderKey.create()
    members = [SenderKeyRing(), SenderKeyRing()]
    for member in members:
        member.accept(owner.distribution())
    messages = [owner.encrypt(b"%d" % number) for number in range(4)]
    for member in members:
        assert [member.decrypt(messages[number]) for number in (2, 0, 3, 1)] == [b"2", b"0", b"3", b"1"]
        with pytest.raises(Duplicate):
            member.decrypt(messages[1])


def test_a_group_message_that_its_sender_did_not_sign_changes_nothing() -> None:
    owner, member = SenderKey.create(), SenderKeyRing()
    member.accept(owner.distribution())
    genuine = owner.encrypt(b"genuine")
    before = member.to_bytes()
    with pytest.raises(Undecryptable):
        member.decrypt(genuine[:-70] + bytes((genuine[-70] ^ 1,)) + genuine[-69:])
    assert member.to_bytes() == before
    assert member.decrypt(genuine) == b"genuine"


def test_a_member_reads_from_when_it_was_told_the_key() -> None:
    owner, member = SenderKey.create(), SenderKeyRing()
    earlier = owner.encrypt(b"before")
    member.accept(owner.distribution())
    assert member.decrypt(owner.encrypt(b"after")) == b"after"
    with pytest.raises(Duplicate):
        member.decrypt(earlier)


def test_a_renewed_sender_key_leaves_late_messages_readable_and_a_repeated_one_changes_nothing() -> None:
    old, new, member = SenderKey.create(), SenderKey.create(), SenderKeyRing()
    told = old.distribution()
    member.accept(told)
    late = old.encrypt(b"late")
    member.accept(new.distribution())
    assert member.decrypt(new.encrypt(b"new")) == b"new"
    assert member.decrypt(late) == b"late"
    member.accept(told)
    with pytest.raises(Duplicate):
        member.decrypt(late)
    with pytest.raises(NoSession):
        member.decrypt(SenderKey.create().encrypt(b"never told"))


def test_a_device_resumes_from_its_records() -> None:
    records: dict[str, dict[str, bytes]] = {"alice": {}, "bob": {}}
    devices = {"alice": SignalDevice(), "bob": SignalDevice()}

    def killed_and_resumed(name: str) -> SignalDevice:
        for record, data in devices[name].changes().items():
            assert data is not None
            records[name][record] = data
        devices[name] = SignalDevice.restore(records[name])
        return devices[name]

    devices["alice"].start("bob", devices["bob"].keys.bundle(1))
    for number in range(4):
        text = b"%d" % number
        kind, body = devices["alice"].encrypt("bob", text)
        killed_and_resumed("alice")
        assert devices["bob"].decrypt("alice", kind, body) == text
        killed_and_resumed("bob")
        kind, body = devices["bob"].encrypt("alice", text)
        killed_and_resumed("bob")
        assert devices["alice"].decrypt("bob", kind, body) == text
        killed_and_resumed("alice")
    devices["bob"].accept_distribution("group", "alice", devices["alice"].distribution("group"))
    for number in range(3):
        body = devices["alice"].encrypt_group("group", b"%d" % number)
        killed_and_resumed("alice")
        assert killed_and_resumed("bob").decrypt_group("group", "alice", body) == b"%d" % number
    assert not killed_and_resumed("bob").changes()
    assert 1 not in devices["bob"].keys.one_time


def test_the_keys_are_written_again_only_when_a_message_used_one_up() -> None:
    alice, bob = SignalDevice(), SignalDevice()
    alice.start("bob", bob.keys.bundle(1))
    bob.changes()
    first, second = alice.encrypt("bob", b"first"), alice.encrypt("bob", b"second")
    assert (first.kind, second.kind) == ("pkmsg", "pkmsg")
    bob.decrypt("alice", *first)
    assert set(bob.changes()) == {"keys", "session alice"}
    bob.decrypt("alice", *second)
    assert set(bob.changes()) == {"session alice"}


def test_a_forgotten_session_is_a_record_that_is_gone() -> None:
    alice, bob = SignalDevice(), SignalDevice()
    alice.start("bob", bob.keys.bundle())
    assert alice.has_session("bob")
    alice.changes()
    alice.forget("bob")
    assert alice.changes() == {"session bob": None}
    assert not alice.has_session("bob")


@pytest.mark.parametrize("size", [0, 1, 15, 16, 17, 1000])
def test_padding_comes_off_again(size: int) -> None:
    padded = pad(bytes(size))
    assert size < len(padded) <= size + 15
    assert unpad(padded) == bytes(size)


@pytest.mark.parametrize("padded", [b"", b"\x00", b"\x02", b"ab\x01\x02"])
def test_what_was_not_padded_is_refused(padded: bytes) -> None:
    with pytest.raises(Undecryptable):
        unpad(padded)
