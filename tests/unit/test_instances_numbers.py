"""The number of somebody whom WhatsApp names by the LID alone: from what was learned, from the store, or not at all."""

from collections.abc import Collection, Mapping

import trio

from bridge.domain.events import Event
from bridge.instances.numbers import REMEMBERED, UNKNOWN_FOR_S, Numbers

ADA, BOB = "111@lid", "222@lid"


def event(lid: str, jid: str | None = None, **data: object) -> Event:
    phone = jid.partition("@")[0] if jid else None
    sender = {"jid": jid, "lid": lid, "phone": phone, "phone_known": jid is not None, "name": "x"}
    return Event("message.status", "message_read", "key", 1.0, {"from": phone or lid, "sender": sender, **data})


class Store:
    """Pairs of LID and number; notes what it was asked for."""

    def __init__(self, **numbers: str) -> None:
        self.numbers = {name.removeprefix("lid"): number for name, number in numbers.items()}
        self.asked: list[list[str]] = []

    async def find(self, lids: Collection[str]) -> Mapping[str, str]:
        self.asked.append(sorted(lids))
        return {lid: self.numbers[lid] for lid in lids if lid in self.numbers}


async def test_a_number_is_read_once_for_all_that_need_it_and_put_into_sender_and_from() -> None:
    store = Store(lid111="4915100000002")
    numbers = Numbers(store.find)
    one, two, other = await numbers.complete([event(ADA), event(ADA, **{"from": "4900"}), event(BOB)])
    assert one.data["from"] == "4915100000002"
    assert one.data["sender"] == {
        "jid": "4915100000002@s.whatsapp.net", "lid": ADA, "phone": "4915100000002", "phone_known": True, "name": "x",
    }  # fmt: skip
    assert two.data["from"] == "4900", "it names somebody else"
    assert other == event(BOB)
    await numbers.complete([event(ADA)])
    assert store.asked == [["111", "222"]]


async def test_what_one_report_says_is_known_for_the_next_ones_and_nobody_is_asked() -> None:
    store = Store()
    numbers = Numbers(store.find)
    await numbers.complete([event(ADA, "4915100000002@s.whatsapp.net")])
    (told,) = await numbers.complete([event(ADA)])
    assert (told.data["from"], store.asked) == ("4915100000002", [])


async def test_an_unknown_number_is_asked_for_again_after_a_while(autojump_clock: trio.testing.MockClock) -> None:
    store = Store()
    numbers = Numbers(store.find, trio.current_time)
    for _ in range(3):
        assert (await numbers.complete([event(ADA)]))[0].data["from"] == ADA
    store.numbers["111"] = "4915100000002"
    await trio.sleep(UNKNOWN_FOR_S)
    assert (await numbers.complete([event(ADA)]))[0].data["from"] == "4915100000002"
    assert store.asked == [["111"], ["111"]]


async def test_no_more_people_are_remembered_than_there_is_room_for() -> None:
    store = Store()
    numbers = Numbers(store.find)
    await numbers.complete([event("1@lid", "49@s.whatsapp.net")])
    await numbers.complete([event(f"{2 + number}@lid", "49@s.whatsapp.net") for number in range(REMEMBERED)])
    first, second = await numbers.complete([event("1@lid"), event("2@lid")])
    assert (first.data["from"], second.data["from"]) == ("1@lid", "49")
    assert store.asked == [["1"]]


async def test_what_has_no_sender_stays_as_it_is() -> None:
    plain = Event("connection.update", "connected", "key", 1.0, {"status": "connected"})
    assert await Numbers(Store().find).complete([plain]) == [plain]
