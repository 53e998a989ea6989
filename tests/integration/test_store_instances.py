"""Instances: what survives, who may write, what is forgotten."""

import psycopg
import pytest

from bridge.domain.ids import InstanceKey, NodeId
from bridge.ids import new_instance_key
from bridge.store.errors import DeviceTaken, InstanceNotFound, StaleOwner

NODE, OTHER = NodeId("node_1"), NodeId("node_2")
JID, LID = "491701234567:3@s.whatsapp.net", "123456789:3@lid"
MISSING = InstanceKey("0" * 32)
RESTRICTION = {"kind": "new_chats_limited", "since": 1.5, "until": 2.5, "strikes": 1}


async def create(store, **fields):
    values = {"name": None, "external_id": None, "metadata": {}} | fields
    return await store.instances.create(new_instance_key(), **values)


async def test_a_new_instance_is_not_to_run(store):
    row = await create(store, name="Shop", external_id="crm-7", metadata={"tags": ["a", {"b": None}]})
    assert (row.state, row.desired, row.needs, row.epoch, row.owner) == ("created", "paused", "none", 0, None)
    assert row.metadata == {"tags": ["a", {"b": None}]}
    assert row.created_at.tzinfo is not None
    assert await store.instances.get(row.key) == row
    assert await store.instances.get(MISSING) is None


async def test_a_write_of_an_earlier_owner_is_refused(store):
    row = await create(store)
    old = await store.instances.claim(row.key, NODE)
    new = await store.instances.claim(row.key, OTHER)
    assert new == old + 1
    writes = (
        lambda: store.instances.set_state(row.key, NODE, old, state="online"),
        lambda: store.instances.set_state(row.key, NODE, new, state="online"),
        lambda: store.instances.set_state(row.key, OTHER, old, state="online"),
        lambda: store.instances.set_identity(row.key, NODE, old, jid=JID),
        lambda: store.instances.set_push_name(row.key, NODE, old, "Eve"),
        lambda: store.instances.set_restriction(row.key, NODE, old, RESTRICTION),
        lambda: store.instances.clear_identity(row.key, NODE, old),
    )
    for write in writes:
        with pytest.raises(StaleOwner):
            await write()
    untouched = await store.instances.get(row.key)
    assert (untouched.state, untouched.jid, untouched.push_name) == ("created", None, None)
    await store.instances.set_state(row.key, OTHER, new, state="online")


async def test_since_tells_when_the_state_began_not_when_it_was_repeated(store):
    row = await create(store)
    epoch = await store.instances.claim(row.key, NODE)
    await store.instances.set_state(row.key, NODE, epoch, state="reconnecting", reason="stream error")
    first = await store.instances.get(row.key)
    await store.instances.set_state(row.key, NODE, epoch, state="reconnecting", reason="again", needs="operator")
    second = await store.instances.get(row.key)
    assert first.since > row.since
    assert second.since == first.since
    assert (second.reason, second.needs) == ("again", "operator")


async def test_an_identity_keeps_what_a_later_report_leaves_out(store):
    row = await create(store)
    epoch = await store.instances.claim(row.key, NODE)
    await store.instances.set_identity(row.key, NODE, epoch, jid=JID, lid=LID, push_name="Eve")
    await store.instances.set_identity(row.key, NODE, epoch, jid=JID)
    same = await store.instances.get(row.key)
    assert (same.jid, same.lid, same.push_name) == (JID, LID, "Eve")
    await store.instances.set_identity(row.key, NODE, epoch, jid="491701234567:4@s.whatsapp.net")
    another_device = await store.instances.get(row.key)
    assert (another_device.lid, another_device.push_name) == (None, None)
    await store.instances.clear_identity(row.key, NODE, epoch)
    assert (await store.instances.get(row.key)).jid is None


async def test_two_instances_cannot_be_the_same_device(store):
    for row, expected in ((await create(store), None), (await create(store), DeviceTaken)):
        epoch = await store.instances.claim(row.key, NODE)
        if expected is None:
            await store.instances.set_identity(row.key, NODE, epoch, jid=JID)
        else:
            with pytest.raises(expected):
                await store.instances.set_identity(row.key, NODE, epoch, jid=JID)


async def test_what_should_run_is_for_the_operator_to_say(store):
    row = await create(store)
    await store.instances.set_desired(row.key, "running")
    assert (await store.instances.get(row.key)).desired == "running"
    with pytest.raises(InstanceNotFound):
        await store.instances.set_desired(MISSING, "running")
    with pytest.raises(InstanceNotFound):
        await store.instances.claim(MISSING, NODE)


async def test_a_list_is_paged_without_gaps_or_repeats(store):
    keys = [(await create(store, external_id=f"crm-{number % 2}")).key for number in range(5)]
    seen, cursor = [], None
    while True:
        page = await store.instances.list(limit=2, cursor=cursor)
        seen += [row.key for row in page.items]
        cursor = page.next_cursor
        if cursor is None:
            break
    assert seen == keys
    assert [row.key for row in (await store.instances.list(external_id="crm-1")).items] == keys[1::2]
    assert (await store.instances.list(state="online")).items == ()
    assert [row.key for row in await store.instances.wanted()] == keys


async def test_deleting_takes_the_commands_along(store):
    row = await create(store)
    await store.commands.insert("cmd_1", row.key, kind="text", body={}, state="queued")
    assert await store.instances.delete(row.key)
    assert await store.commands.get("cmd_1") is None
    assert not await store.instances.delete(row.key)


async def test_devices_are_unknown_before_the_engine_has_made_its_tables(store):
    assert not await store.instances.device_exists(JID)
    assert await store.instances.forget_session(JID) == 0


async def test_forgetting_a_session_deletes_every_row_of_the_device_and_of_no_other(store, database_url):
    with psycopg.connect(database_url, autocommit=True) as conn:
        conn.execute("set search_path = whatsapp")
        conn.execute("create table whatsmeow_device (jid text primary key, lid text)")
        for table, column in (
            ("whatsmeow_pre_keys", "jid"),
            ("whatsmeow_sessions", "our_jid"),
            ("whatsmeow_app_state_version", "jid"),
        ):
            conn.execute(
                f"create table {table} ({column} text references whatsmeow_device (jid) on delete cascade, x int)"
            )
        conn.execute("create table whatsmeow_privacy_tokens (our_jid text, their_jid text)")  # hangs on nothing
        conn.execute("create table whatsmeow_lid_map (lid text primary key, pn text)")  # shared by all devices
        conn.execute("insert into whatsmeow_lid_map values ('1', '2')")
        for jid in (JID, "other"):
            conn.execute("insert into whatsmeow_device values (%s)", (jid,))
            conn.execute("insert into whatsmeow_pre_keys values (%s, 1), (%s, 2)", (jid, jid))
            conn.execute("insert into whatsmeow_sessions values (%s, 1)", (jid,))
            conn.execute("insert into whatsmeow_app_state_version values (%s, 1)", (jid,))
            conn.execute("insert into whatsmeow_privacy_tokens values (%s, 'x')", (jid,))

        assert await store.instances.device_exists(JID)
        assert await store.instances.forget_session(JID) == 6
        assert not await store.instances.device_exists(JID)
        assert await store.instances.device_exists("other")
        for table, left in (("pre_keys", 2), ("sessions", 1), ("app_state_version", 1), ("privacy_tokens", 1)):
            assert conn.execute(f"select count(*) from whatsmeow_{table}").fetchone() == (left,)
        assert conn.execute("select count(*) from whatsmeow_lid_map").fetchone() == (1,)


async def test_a_change_of_what_the_caller_knows_an_instance_by_leaves_the_rest(store):
    row = await create(store, name="Shop", external_id="crm-7", metadata={"a": 1})
    changed = await store.instances.change(row.key, {"name": None, "metadata": {"b": 2}})
    assert (changed.name, changed.external_id, changed.metadata) == (None, "crm-7", {"b": 2})
    assert await store.instances.change(row.key, {}) == changed == await store.instances.get(row.key)
    with pytest.raises(InstanceNotFound):
        await store.instances.change(MISSING, {"name": "x"})


async def test_when_it_was_paired_is_kept_until_another_device_is(store):
    row = await create(store)
    assert row.paired_at is None
    epoch = await store.instances.claim(row.key, NODE)
    await store.instances.set_identity(row.key, NODE, epoch, jid=JID)
    first = await store.instances.get(row.key)
    await store.instances.set_restriction(row.key, NODE, epoch, RESTRICTION)
    await store.instances.set_identity(row.key, NODE, epoch, jid=JID, lid=LID)
    again = await store.instances.get(row.key)
    assert first.paired_at == again.paired_at is not None
    assert again.restriction == RESTRICTION
    await store.instances.clear_identity(row.key, NODE, epoch)
    assert (await store.instances.get(row.key)).restriction is None  # another number may follow
    await store.instances.set_identity(row.key, NODE, epoch, jid="491701234567:4@s.whatsapp.net")
    assert (await store.instances.get(row.key)).paired_at > first.paired_at


async def test_settings_are_changed_one_by_one_and_null_takes_one_away(store):
    row = await create(store, settings={"pacing_profile": "steady"})
    assert row.settings == {"pacing_profile": "steady"}
    changed = await store.instances.change(row.key, {"name": "Shop"})
    assert changed.settings == {"pacing_profile": "steady"}
    assert (await store.instances.change(row.key, {"settings": {"pacing_profile": "off"}})).settings == {
        "pacing_profile": "off"
    }
    assert (await store.instances.change(row.key, {"settings": {"pacing_profile": None}})).settings == {}
