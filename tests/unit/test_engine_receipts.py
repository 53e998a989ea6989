"""Receipts that the engine reports, as events: every type that the library has a word for."""

import pytest

from bridge.domain.events import Event, StatusChange
from bridge.engine.translate import Context, translate
from bridge.protos import neonize_pb
from tests.support.engine_reports import receipt


def only(found: tuple[object, ...]) -> Event:
    (event,) = found
    assert isinstance(event, Event)
    return event


@pytest.mark.parametrize(
    ("kind", "name", "change"),
    [
        (neonize_pb.Receipt.DELIVERED, "message_delivered", "delivered"),
        (neonize_pb.Receipt.INACTIVE, "message_delivered", "delivered"),
        (neonize_pb.Receipt.READ, "message_read", "read"),
        (neonize_pb.Receipt.PLAYED, "message_played", "played"),
        (neonize_pb.Receipt.READ_SELF, "message_read_self", None),
        (neonize_pb.Receipt.RETRY, "message_retry", None),
        (neonize_pb.Receipt.SENDER, "message_sender_receipt", None),
        (neonize_pb.Receipt.PLAYED_SELF, "message_played_self", None),
        (neonize_pb.Receipt.SERVER_ERROR, "message_played_self", None),
        (neonize_pb.Receipt.PEER_MSG, "message_receipt", None),
        (neonize_pb.Receipt.HISTORY_SYNC, "message_receipt", None),
    ],
)
def test_a_receipt_changes_the_status_of_what_we_sent(kind: int, name: str, change: str | None) -> None:
    event = only(translate(receipt(kind, "A", "B"), Context()))
    assert (event.type, event.name, event.data["message_ids"]) == ("message.status", name, ["A", "B"])
    assert event.status == (StatusChange(("A", "B"), change) if change else None)


def test_every_type_of_receipt_that_the_library_has_is_told() -> None:
    for kind in neonize_pb.Receipt.ReceiptType.values():
        assert only(translate(receipt(kind, "A"), Context())).name.startswith("message_")


def test_a_receipt_that_tells_nobody_anything_gives_nothing() -> None:
    assert translate(receipt(None, "A"), Context()) == ()


def test_a_receipt_for_hundreds_of_messages_has_a_short_key() -> None:
    many = [f"3EB0{number:018X}" for number in range(500)]
    first = only(translate(receipt(neonize_pb.Receipt.READ, *many), Context()))
    second = only(translate(receipt(neonize_pb.Receipt.READ, *many[:-1]), Context()))
    assert len(first.dedup_key) < 400
    assert first.dedup_key != second.dedup_key
