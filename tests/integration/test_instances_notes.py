"""Notes from triggers on the engine's tables: taken, told through the instance's actor, kept until they are told."""

import psycopg
import pytest

from bridge.domain.events import Event
from bridge.domain.ids import Epoch, InstanceKey, NodeId
from bridge.ids import new_instance_key
from bridge.instances.engine_notes import NoteTeller
from bridge.instances.errors import InstanceDown
from bridge.instances.numbers import Numbers
from bridge.store.store import Store
from tests.support.engine_tables import OURS, TABLES, execute

NODE = NodeId("node")
PEOPLE = f"""
insert into whatsapp.whatsmeow_contacts values ('{OURS}', '1@lid', 'Ada'), ('{OURS}', '491@s.whatsapp.net', 'Ada'),
    ('{OURS}', '492@s.whatsapp.net', 'Bob'), ('{OURS}', '3@lid', '');
insert into whatsapp.whatsmeow_lid_map values ('1', '491');
"""


class Actors:
    """Takes events, when there is somebody to take them."""

    def __init__(self) -> None:
        self.told: list[Event] = []
        self.down = False

    async def emit(self, key: InstanceKey, event: Event) -> None:
        if self.down:
            raise InstanceDown
        self.told.append(event)


@pytest.fixture
async def paired(store: Store) -> InstanceKey:
    key = new_instance_key()
    await store.instances.create(key, None, None, {})
    epoch: Epoch = await store.instances.claim(key, NODE)
    await execute(store, [TABLES, PEOPLE])
    await store.instances.set_identity(key, NODE, epoch, jid=OURS, lid=None)
    return key


RENAMED = [
    "update whatsapp.whatsmeow_contacts set push_name = 'Ada L.' where their_jid in ('1@lid', '491@s.whatsapp.net')",
    "update whatsapp.whatsmeow_contacts set push_name = 'Robert' where their_jid = '492@s.whatsapp.net'",
    "update whatsapp.whatsmeow_contacts set push_name = 'Eve' where their_jid = '3@lid'",
    "update whatsapp.whatsmeow_contacts set push_name = 'Robert' where their_jid = '492@s.whatsapp.net'",
]


async def test_a_name_that_changes_is_told_once_with_the_number_and_a_first_one_is_not(
    store: Store, paired: InstanceKey
) -> None:
    actors = Actors()
    teller = NoteTeller(store.engine_notes, Numbers(store.contacts.numbers), actors.emit)
    await execute(store, RENAMED)
    actors.down = True
    await teller.tell()
    assert (actors.told, len(await store.engine_notes.read())) == ([], 2)
    actors.down = False
    for _ in range(2):
        await teller.tell()
    assert [(event.data["from"], event.data["push_name"]) for event in actors.told] == [
        ("491", "Ada L."),
        ("492", "Robert"),
    ]
    assert await store.engine_notes.read() == []


async def test_what_came_with_the_pairing_is_forgotten_and_what_nobody_is_paired_for_too(
    store: Store, paired: InstanceKey
) -> None:
    actors = Actors()
    teller = NoteTeller(store.engine_notes, Numbers(store.contacts.numbers), actors.emit)
    chat = "insert into whatsapp.whatsmeow_chat_settings (our_jid, chat_jid, archived) values ('{}', '1@lid', true)"
    await execute(store, [chat.format(OURS)])
    await store.engine_notes.forget(OURS)
    await execute(store, [chat.format("50:1@s.whatsapp.net")])
    await teller.tell()
    assert (actors.told, await store.engine_notes.read()) == ([], [])
    await execute(store, ["update whatsapp.whatsmeow_chat_settings set pinned = true, archived = false"])
    await teller.tell()
    assert [event.data["changes"] for event in actors.told] == [{"archived": False, "pinned": True}]


async def test_a_note_that_cannot_be_taken_does_not_keep_the_engine_from_writing(
    store: Store, paired: InstanceKey
) -> None:
    await execute(store, ["alter table bridge.engine_note rename column jid to jid_", *RENAMED])
    async with store.connection() as conn:
        cursor = await conn.execute(b"select push_name from whatsapp.whatsmeow_contacts where their_jid = '1@lid'")
        assert await cursor.fetchone() == ("Ada L.",)
    with pytest.raises(psycopg.errors.UndefinedColumn):
        await store.engine_notes.read()
