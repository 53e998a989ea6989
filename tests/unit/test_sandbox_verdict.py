"""The oracle's judgement, on messages that are written down."""

from dataclasses import replace

from bridge.sandbox.oracle import Copy, Message
from bridge.sandbox.verdict import Verdict, compare, judge

DEVICE = "1:1@s.whatsapp.net"


def message(seq: int, *, acknowledged: float | None = 1.0, relayed: bool = True, text: str | None = None) -> Message:
    return Message(
        seq=seq,
        id=f"m{seq}",
        sender="2",
        sender_device="2@s.whatsapp.net",
        recipient="1",
        kind="text",
        text=text,
        hash=text or f"hash {seq}",
        sent_at=0.0,
        relayed=(Copy(DEVICE, 0.5),) if relayed else (),
        acknowledged=() if acknowledged is None else (Copy(DEVICE, acknowledged),),
    )


def test_what_every_device_acknowledged_in_order_is_clean() -> None:
    verdict = judge([message(1, acknowledged=1), message(2, acknowledged=1), message(3, acknowledged=2)])
    assert verdict == Verdict(checked=3, acknowledged=3)
    assert verdict.clean


def test_a_message_without_acknowledgement_is_lost() -> None:
    verdict = judge([message(1), message(2, acknowledged=None)])
    assert (verdict.lost, verdict.clean) == (["m2"], False)


def test_a_message_that_one_of_two_devices_acknowledged_is_lost() -> None:
    half = message(1)
    half = replace(half, relayed=(*half.relayed, Copy("1:2@s.whatsapp.net", 0.5)))
    assert judge([half]).lost == ["m1"]


def test_a_message_to_nobody_is_not_lost_but_said() -> None:
    verdict = judge([message(1, relayed=False, acknowledged=None)])
    assert (verdict.unrelayed, verdict.lost) == (["m1"], [])


def test_the_same_content_under_another_id_is_doubled() -> None:
    assert judge([message(1, text="x"), message(2, text="x"), message(3, text="y")]).doubled == ["m2"]


def test_an_acknowledgement_before_an_earlier_messages_is_out_of_order() -> None:
    verdict = judge([message(1, acknowledged=5), message(2, acknowledged=4), message(3, acknowledged=6)])
    assert verdict.out_of_order == ["m2"]


def test_a_list_of_all_that_was_acknowledged_is_clean() -> None:
    sent = [message(1), message(2), message(3, acknowledged=None)]
    assert compare(sent, ["m1", "m2", "unknown"]) == Verdict(checked=3, acknowledged=2)


def test_a_list_shows_what_is_lost_doubled_and_out_of_order() -> None:
    sent = [message(seq) for seq in range(1, 6)]
    verdict = compare(sent, ["m1", "m3", "m2", "m5", "m5"])
    assert (verdict.lost, verdict.doubled, verdict.out_of_order) == (["m4"], ["m5"], ["m3"])


def test_each_senders_messages_have_an_order_of_their_own() -> None:
    other = replace(message(2), sender="3", sender_device="3@s.whatsapp.net")
    assert compare([message(1), other], ["m2", "m1"]).clean
