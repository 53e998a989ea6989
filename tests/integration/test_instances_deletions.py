"""What is noted of the engine's app state becomes events: messages deleted for oneself, once, and collections read."""

import hashlib
import hmac
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from bridge.domain.events import Event
from bridge.domain.ids import CommandId, Epoch, InstanceKey, NodeId
from bridge.engine.messages import dedup_key
from bridge.ids import new_event_id, new_instance_key
from bridge.instances import announce, deletions
from bridge.instances.engine_notes import NoteTeller
from bridge.instances.errors import InstanceDown
from bridge.instances.numbers import Numbers
from bridge.sandbox.keys import hkdf
from bridge.store.events import Draft
from bridge.store.migrate import migrate
from bridge.store.store import Store
from bridge.store.trio_psycopg import TrioConnection
from tests.support.engine_tables import OURS, TABLES, execute

NODE, KEYS = NodeId("node"), {1: b"\1" * 32, 2: b"\2" * 32}
ANN, ANNS_NUMBER, GROUP = "1@lid", "491@s.whatsapp.net", "120363@g.us"


@dataclass
class Bench:
    """An instance that is paired, on the engine's tables, and what was told of it."""

    store: Store
    key: InstanceKey
    epoch: Epoch
    told: list[Event] = field(default_factory=list)
    down: bool = False
    version: int = 0

    async def emit(self, key: InstanceKey, event: Event) -> None:
        if self.down:
            raise InstanceDown
        self.told.append(event)

    async def look(self) -> None:
        """Look at what is due."""
        await NoteTeller(self.store.engine_notes, Numbers(self.store.contacts.numbers), self.emit).tell()

    async def look_later(self) -> list[tuple[Any, ...]]:
        """Look when all is due; return the messages that were told as deleted so far."""
        await execute(self.store, ["update bridge.engine_note set due = now()"])
        await self.look()
        return [
            (event.data["message_id"], event.data["chat_id"], event.data["from"])
            for event in self.told
            if event.name == "message_deleted"
        ]

    async def has(self, *events: Event) -> None:
        """Store events, as far as it matters."""
        drafts = [
            Draft(event, new_event_id(), '{"seq":', f',"data":{json.dumps(dict(event.data))}}}') for event in events
        ]
        await self.store.events.append(self.key, NODE, self.epoch, drafts)

    async def settings(self, *names: Sequence[str], key: int = 2, collection: str = "regular_high") -> None:
        """Have the engine store settings of these names, in one statement."""
        index_key = hkdf(KEYS[key], b"", b"WhatsApp Mutation Keys", 160)[:32]
        macs = [hmac.digest(index_key, json.dumps(name, separators=(",", ":")).encode(), "sha256") for name in names]
        await self.macs(macs, collection)

    async def macs(self, macs: Sequence[bytes], collection: str = "regular_high") -> None:
        self.version += 1
        rows = ",".join(f"('{OURS}', '{collection}', {self.version}, '\\x{mac.hex()}', '')" for mac in macs)
        await execute(
            self.store,
            [
                "insert into whatsapp.whatsmeow_app_state_version"
                f" values ('{OURS}', '{collection}', {self.version}, '')"
                " on conflict (jid, name) do update set version = excluded.version",
                f"insert into whatsapp.whatsmeow_app_state_mutation_macs values {rows}",
            ],
        )

    async def notes(self, about: str) -> list[Any]:
        async with self.store.connection() as conn:
            query = b"select after from bridge.engine_note where after ? %s order by id"
            return [row[0][about] for row in await (await conn.execute(query, [about])).fetchall()]


@pytest.fixture
async def bench(store: Store) -> Bench:
    key = new_instance_key()
    await store.instances.create(key, None, None, {})
    epoch = await store.instances.claim(key, NODE)
    keys = [
        "insert into whatsapp.whatsmeow_app_state_sync_keys"
        f" values ('{OURS}', '\\x0{number}', '\\x{data.hex()}', {number})"
        for number, data in KEYS.items()
    ]
    await execute(store, [TABLES, *keys, "insert into whatsapp.whatsmeow_lid_map values ('1', '491'), ('9', '49150')"])
    await store.instances.set_identity(key, NODE, epoch, jid=OURS, lid="9@lid")
    return Bench(store, key, epoch)


def received(message_id: str, chat: str = ANN, sender: str = ANN, type_: str = "message.received") -> Event:
    data = {"message_id": message_id}
    return Event(type_, "message_received", dedup_key("message", chat, sender, message_id), 5.0, data, chat)


def sent(message_id: str, chat: str = ANNS_NUMBER, metadata: str = "") -> Event:
    return announce.sent(
        CommandId(f"cmd_{message_id}"),
        kind="text",
        to=chat,
        sender=OURS,
        message_id=message_id,
        text="x",
        at=5.0,
        metadata={"message_id": "another", "theirs": metadata},
    )


def name(chat: str, message_id: str, ours: str = "0", author: str = "0") -> Sequence[str]:
    return ("deleteMessageForMe", chat, message_id, ours, author)


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize(
    ("event", "index", "told"),
    [
        (received("A"), name(ANN, "A"), ("A", ANN, "491")),
        (received("A"), name(ANNS_NUMBER, "A"), ("A", ANN, "491")),
        (received("A", ANNS_NUMBER, ANNS_NUMBER), name(ANN, "A"), ("A", ANNS_NUMBER, "491")),
        (received("A", GROUP), name(GROUP, "A", "0", ANN), ("A", GROUP, "491")),
        (received("A", GROUP), name(GROUP, "A", "0", ANNS_NUMBER), ("A", GROUP, "491")),
        (received("A", GROUP), name(GROUP, "A"), ("A", GROUP, "491")),
        (received("A", GROUP, "7@lid"), name(GROUP, "A", "0", "7@lid"), ("A", GROUP, "7@lid")),
        (received("A", ANN, "9@lid", "message.sent"), name(ANN, "A", "1"), ("A", ANN, "49150")),
        (sent("A"), name(ANN, "A", "1"), ("A", ANNS_NUMBER, "49150")),
        (sent("A"), name(ANNS_NUMBER, "A", "1"), ("A", ANNS_NUMBER, "49150")),
        (sent("A", GROUP), name(GROUP, "A", "1"), ("A", GROUP, "49150")),
        (sent("A", GROUP), name(GROUP, "A", "1", "9@lid"), ("A", GROUP, "49150")),
    ],
)
async def test_a_message_is_found_by_either_address_of_chat_and_author_and_by_any_key(
    bench: Bench, event: Event, index: Sequence[str], told: tuple[str, ...], key: int
) -> None:
    await bench.has(event)
    await bench.settings(index, key=key)
    assert await bench.look_later() == [told]
    (event,) = (one for one in bench.told if one.name == "message_deleted")
    assert (event.type, event.data["is_from_me"], event.chat) == ("message.deleted", index[3] == "1", told[1])
    assert event.data["is_group"] == (told[1] == GROUP)
    assert await bench.notes("index_macs") == [], "what was found is not looked for again"


@pytest.mark.parametrize(
    "index",
    [name(ANN, "B"), name(ANN, "A", "1"), name("2@lid", "A"), name(ANN, "A", "0", ANN), ("star", *name(ANN, "A")[1:])],
)
async def test_another_setting_is_no_event_and_is_looked_at_twice(bench: Bench, index: Sequence[str]) -> None:
    await bench.has(received("A"))
    await bench.settings(index)
    left = []
    for _ in range(2):
        assert await bench.look_later() == []
        left.append(len(await bench.notes("index_macs")))
    assert left == [1, 0]


async def test_a_message_that_is_stored_after_its_deletion_is_found_later(bench: Bench) -> None:
    await bench.settings(name(ANN, "A"))
    assert await bench.look_later() == []
    assert await bench.store.engine_notes.read() == [], "not before its time"
    await bench.has(received("A"))
    assert await bench.look_later() == [("A", ANN, "491")]


async def test_our_own_lid_is_known_of_the_instance_alone(bench: Bench) -> None:
    await execute(bench.store, ["delete from whatsapp.whatsmeow_lid_map"])
    await bench.has(sent("A", GROUP))
    await bench.settings(name(GROUP, "A", "1", "9@lid"))
    assert await bench.look_later() == [("A", GROUP, "49150")]


async def test_an_instance_that_does_not_know_its_lid_recognises_what_others_wrote(bench: Bench) -> None:
    await execute(bench.store, ["update bridge.instance set lid = null"])
    await bench.has(received("A"))
    await bench.settings(name(ANN, "A"))
    assert await bench.look_later() == [("A", ANN, "491")]


async def test_what_postgresql_cannot_read_hides_nothing_else(bench: Bench) -> None:
    await bench.has(sent("A", metadata="\0"), sent("B"))
    await bench.settings(name(ANN, "A", "1"), name(ANN, "B", "1"))
    assert await bench.look_later() == [("B", ANNS_NUMBER, "49150")]


async def test_how_far_it_is_looked_is_bounded_and_further_the_second_time(bench: Bench, monkeypatch) -> None:
    monkeypatch.setattr(deletions, "FIRST", deletions.Reach(events=2, keys=1))
    monkeypatch.setattr(deletions, "LAST", deletions.Reach(events=3, keys=2))
    await bench.has(*(received(one) for one in "ABCD"))
    await bench.settings(name(ANN, "A"), name(ANN, "B"), name(ANN, "C"))
    await bench.settings(name(ANN, "D"), key=1)
    assert [one[0] for one in await bench.look_later()] == ["C"]
    assert sorted({one[0] for one in await bench.look_later()}) == ["B", "C", "D"]


async def test_the_same_deletion_is_one_event_however_often_the_engine_stores_it(bench: Bench) -> None:
    await bench.has(received("A"))
    for again in range(2):
        await bench.settings(name(ANN, "A"), name(ANNS_NUMBER, "A"), key=1 + again)
        await bench.look_later()
    told = [one for one in bench.told if one.name == "message_deleted"]
    assert len(told) == 4
    for event in told:
        await bench.has(event)
    stored = await bench.store.events.after(bench.key, 0, types=["message.deleted"])
    assert len(stored) == 1


async def test_an_instance_that_is_down_keeps_its_notes_for_a_while_without_having_them_looked_at(bench: Bench) -> None:
    await bench.has(received("A"))
    await bench.settings(name(ANN, "A"))
    bench.down = True
    for _ in range(3):
        assert await bench.look_later() == []
    due = [note for note in await bench.store.engine_notes.read() if "index_macs" in note.after]
    assert due == [], "a look costs, so they wait"
    bench.down = False
    assert await bench.look_later() == [("A", ANN, "491")]


async def test_what_takes_long_waits_for_the_next_look_and_keeps_nothing_else_waiting(
    bench: Bench, monkeypatch
) -> None:
    monkeypatch.setattr(deletions, "BUSY_S", 0)
    await bench.has(received("A"))
    await bench.settings(name(ANN, "A"))
    await execute(bench.store, [f"insert into whatsapp.whatsmeow_chat_settings values ('{OURS}', '{ANN}', 0, true)"])
    await bench.look()
    assert [event.name for event in bench.told] == ["app_state_update"]
    assert len(await bench.notes("index_macs")) == 1


async def test_tables_that_are_not_read_any_more_end_nothing_and_are_given_up(bench: Bench) -> None:
    await bench.settings(name(ANN, "A"))
    await execute(bench.store, ["alter table whatsapp.whatsmeow_app_state_sync_keys rename column key_data to data"])
    left = []
    for _ in range(deletions.TRIES + 1):
        assert await bench.look_later() == []
        left.append(len(await bench.notes("index_macs")))
    assert left == [1] * deletions.TRIES + [0]


async def test_a_statement_is_one_note_and_one_of_too_many_settings_none(bench: Bench) -> None:
    macs = [hashlib.sha256(str(number).encode()).digest() for number in range(1_001)]
    await bench.macs(macs)
    assert await bench.notes("index_macs") == []
    await bench.macs(macs[:1_000])
    await bench.macs(macs[:3], "regular_low")
    (noted,) = await bench.notes("index_macs")
    assert noted == [mac.hex() for mac in macs[:1_000]]


async def test_a_collection_that_was_read_is_told_with_its_last_version_when_nothing_follows(bench: Bench) -> None:
    for number in range(3):
        await bench.macs([bytes([number]) * 32], "regular_low")
        assert bench.told == []
        assert await bench.store.engine_notes.read() == [], "another part may follow"
    await bench.store.engine_notes.forget(OURS)  # as at the end of a pairing
    await bench.macs([b"\4" * 32], "regular_low")
    assert await bench.notes("app_state_version") == [4]
    await bench.look_later()
    await bench.macs([b"\5" * 32], "regular_low")
    await bench.look_later()
    assert [(event.name, event.type, event.data["name"], event.data["version"]) for event in bench.told] == [
        ("app_state_sync_complete", "app_state.synced", "regular_low", 4)
    ]
    await execute(bench.store, ["delete from whatsapp.whatsmeow_app_state_version"])
    await bench.macs([b"\6" * 32], "regular_low")
    await bench.look_later()
    assert [event.data["version"] for event in bench.told] == [4, 6]


async def test_a_note_that_cannot_be_taken_does_not_keep_the_engine_from_writing(bench: Bench) -> None:
    await execute(bench.store, ["alter table bridge.engine_note rename column about to about_"])
    for number in range(2):
        await bench.macs([bytes([number]) * 32])
    async with bench.store.connection() as conn:
        query = b"select count(*), max(v.version) from whatsapp.whatsmeow_app_state_mutation_macs join"
        query += b" whatsapp.whatsmeow_app_state_version v using (jid, name)"
        assert await (await conn.execute(query)).fetchone() == (2, 2)


async def test_tables_that_the_engine_has_made_before_are_watched_from_the_migration_on(
    empty_database_url: str,
) -> None:
    conn = await TrioConnection.connect(empty_database_url, autocommit=True)
    await conn.execute(TABLES.encode())
    await migrate(conn)
    query = b"select tgname from pg_trigger where tgname like 'note_app_state_%' order by 1"
    found = await (await conn.execute(query)).fetchall()
    await conn.close()
    assert found == [("note_app_state_macs",), ("note_app_state_sync",)]


@pytest.mark.parametrize("key", [b"k", b"\x0b" * 20, bytes(32), b"\xff" * 64], ids=len)
async def test_the_databases_own_hmac_and_hkdf_are_those_of_the_standard(store: Store, key: bytes) -> None:
    async with store.connection() as conn:
        query = b"select bridge.hmac_sha256(%(key)s, 'Hi There'), bridge.app_state_index_key(%(key)s)"
        row = await (await conn.execute(query, {"key": key})).fetchone()
    assert row == (hmac.digest(key, b"Hi There", "sha256"), hkdf(key, b"", b"WhatsApp Mutation Keys", 160)[:32])
