"""Messages that the phone deletes for itself, over what may make the engine store it late or anew: an instance that was
away, a killed bridge, app state that is read from its beginning. With the real engine, whose MACs are recognised."""

from collections import Counter
from functools import partial
from pathlib import Path

import psycopg
import pytest

from bridge.store.embedded import running_dsn
from tests.support.stack import Stack, running_stack, until

pytestmark = pytest.mark.engine

PHONE, CONTACT = "4915100000001", "4915100000002"
VERSION = "from whatsapp.whatsmeow_app_state_version where name = 'regular_high'"


async def deleted(stack: Stack) -> Counter[str]:
    """Return how often each message was told as deleted."""
    events = await stack.received(type="message.deleted")
    return Counter(event["body"]["data"]["message_id"] for event in events)


async def is_deleted(stack: Stack, message_id: str) -> bool:
    return message_id in await deleted(stack)


async def is_stored(stack: Stack, message_id: str) -> bool:
    events = await stack.received(type="message.received")
    return message_id in [event["body"]["data"]["message_id"] for event in events]


async def read_versions(stack: Stack) -> list[int]:
    """Return the versions with which the collection was told as read from its beginning."""
    told = [event["body"]["data"] for event in await stack.received(type="app_state.synced")]
    return [one["version"] for one in told if one["name"] == "regular_high"]


async def was_read(stack: Stack, times: int) -> bool:
    return len(await read_versions(stack)) == times


async def test_the_engines_tables_are_watched_before_the_first_phone_is_linked(tmp_path: Path) -> None:
    async with running_stack(tmp_path / "data") as stack:
        key = (await stack.call("POST", "/instance/create"))["instance_key"]
        await stack.call("POST", "/instance/connect", instance_key=key)
        with psycopg.connect(running_dsn(tmp_path / "data" / "postgres"), autocommit=True) as conn:

            async def watched() -> bool:
                return conn.execute("select from pg_trigger where tgname = 'note_app_state_sync'").rowcount == 1

            await until(watched)


async def test_a_deleted_message_is_told_once_whatever_comes_between(tmp_path: Path) -> None:
    async with running_stack(tmp_path / "data") as stack:
        await stack.sandbox.create_phone(CONTACT, "Ann")
        key = await stack.pair(PHONE)
        one = await stack.sandbox.send(CONTACT, PHONE, "one")
        await until(partial(is_stored, stack, one))
        await stack.sandbox.delete_for_me(PHONE, one)
        await until(partial(is_deleted, stack, one))

        await stack.call("POST", f"/instance/{key}/disconnect")
        two = await stack.sandbox.send(CONTACT, PHONE, "comes together with its deletion")
        await stack.sandbox.delete_for_me(PHONE, two, "number")
        await stack.call("POST", "/instance/connect", instance_key=key)
        await until(
            partial(is_deleted, stack, two), timeout_s=90
        )  # when it is stored before its message, at the next look

        await until(partial(was_read, stack, 1))
        await stack.kill()
        await stack.start()
        await stack.until_online(key)
        with psycopg.connect(running_dsn(tmp_path / "data" / "postgres")) as conn:
            conn.execute(f"delete {VERSION}")  # as whatsmeow does before it reads a collection from its beginning
        three = await stack.sandbox.send(CONTACT, PHONE, "three")
        await until(partial(is_stored, stack, three))
        await stack.sandbox.delete_for_me(PHONE, three)
        await until(partial(is_deleted, stack, three))
        await until(partial(was_read, stack, 2))
        assert await deleted(stack) == Counter([one, two, three])
        with psycopg.connect(running_dsn(tmp_path / "data" / "postgres")) as conn:
            assert conn.execute(f"select version {VERSION}").fetchone() == ((await read_versions(stack))[-1],)
