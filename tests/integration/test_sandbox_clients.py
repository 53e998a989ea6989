"""The sandbox as the real, unmodified neonize sees it."""

import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from bridge.sandbox.client import SandboxClient, SandboxRefused
from tests.support.sandbox import Neonize, SandboxProcess, neonize_clients, running_sandbox

pytestmark = pytest.mark.engine

A, B, X = "4918100000001", "4918100000002", "4918100000003"
DELIVERED, READ = 1, 4
"""neonize's numbers for the kinds of receipts."""


@asynccontextmanager
async def _setup(tmp_path: Path) -> AsyncIterator[tuple[SandboxProcess, SandboxClient, Neonize]]:
    async with (
        running_sandbox(tmp_path / "sandbox") as sandbox,
        sandbox.client() as control,
        neonize_clients(sandbox, tmp_path / "clients.sqlite") as clients,
    ):
        yield sandbox, control, clients


async def _all_acknowledged(control: SandboxClient, phone: str, count: int) -> None:
    """Wait until the oracle says so of this many messages to the phone."""
    with trio.fail_after(30):
        while True:
            known = [m for m in await control.oracle(phone) if m.recipient == phone]
            if len(known) == count and all(m.acknowledged for m in known):
                return
            await trio.sleep(0.05)


async def test_a_client_pairs_by_qr_and_texts_go_both_ways_with_receipts(tmp_path: Path) -> None:
    async with _setup(tmp_path) as (_, control, clients):
        ada = await control.create_phone(name="Ada")
        jid = await clients.pair("a", A, control)
        assert jid == f"{A}:1@s.whatsapp.net"

        sent = await control.send(ada.phone, A, "hello")
        got = await clients.event("message", "a", lambda event: event["id"] == sent)
        assert (got["text"], got["push_name"], got["from_me"]) == ("hello", "Ada", False)
        assert (got["sender"], got["sender_alt"]) == (ada.lid, ada.jid)

        answer = await clients.call("send", "a", to=ada.phone, text="hello yourself")
        (received,) = await control.messages(ada.phone, wait_s=10)
        assert (received.message_id, received.text, received.sender) == (answer, "hello yourself", A)
        await clients.event("receipt", "a", lambda e: e["ids"] == [answer] and e["type"] == DELIVERED)
        await control.read(ada.phone, answer)
        await clients.event("receipt", "a", lambda e: e["ids"] == [answer] and e["type"] == READ)

        await _all_acknowledged(control, A, 1)
        incoming, outgoing = await control.oracle()
        assert (incoming.text, [copy.device for copy in incoming.acknowledged]) == ("hello", [jid])
        assert (outgoing.text, outgoing.sender, outgoing.recipient) == ("hello yourself", A, ada.phone)
        assert [copy.device for copy in outgoing.acknowledged] == [ada.jid]
        assert not [event for event in clients.events if event["event"] == "undecryptable"]


async def test_a_client_learns_its_push_name_and_which_numbers_exist(tmp_path: Path) -> None:
    async with _setup(tmp_path) as (_, control, clients):
        ada = await control.create_phone(name="Ada")
        await clients.pair("a", A, control)
        # Presence needs a push name, which comes by app state: a key share, then a patch whose MACs are right.
        with trio.fail_after(20):
            while True:
                try:
                    await clients.call("presence", "a")
                    break
                except RuntimeError:
                    await trio.sleep(0.1)
        known, unknown = await clients.call("check", "a", on=["+" + ada.phone, "+499999999999"])
        assert (known[1], known[2]) == (True, ada.lid)
        assert unknown[1] is False


async def test_clients_and_a_contact_talk_in_a_group(tmp_path: Path) -> None:
    async with _setup(tmp_path) as (_, control, clients):
        ada = await control.create_phone(name="Ada")
        await clients.pair("a", A, control)
        await clients.pair("b", B, control)
        group = await clients.call("group", "a", name="Team", members=[B, ada.phone])
        await clients.event("joined_group", "b")
        user = group.partition("@")[0]
        await clients.call("send", "a", to=user, server="g.us", text="from a client")
        await clients.event("message", "b", lambda e: e["text"] == "from a client" and e["chat"] == group)
        (received,) = await control.messages(ada.phone, wait_s=10)
        assert (received.text, received.chat) == ("from a client", group)
        await control.send(ada.phone, group, "from the contact")
        for client in ("a", "b"):
            got = await clients.event("message", client, lambda e: e["text"] == "from the contact")
            assert (got["group"], got["chat"]) == (True, group)


async def test_an_offline_client_gets_what_waited_in_order_and_once(tmp_path: Path) -> None:
    async with running_sandbox(tmp_path / "sandbox") as sandbox, sandbox.client() as control:
        ada = await control.create_phone()
        database = tmp_path / "clients.sqlite"
        async with neonize_clients(sandbox, database) as clients:
            jid = await clients.pair("a", A, control)
        sent = await control.send_many(ada.phone, [A], count=450)  # more than two pages
        async with neonize_clients(sandbox, database) as clients:
            await clients.call("start", "a", jid=jid)
            await clients.event("offline_done", "a")
            await clients.until(lambda: len(clients.texts("a")) >= sent.sent)
            await _all_acknowledged(control, A, sent.sent)
            assert clients.texts("a") == [f"load {index}" for index in range(450)]


async def test_a_cut_connection_loses_and_doubles_nothing(tmp_path: Path) -> None:
    async with _setup(tmp_path) as (_, control, clients):
        ada = await control.create_phone()
        await clients.pair("a", A, control)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: control.send_many(ada.phone, [A], count=300, rate=150))
            for at in ("load 40", "load 120", "load 200"):
                await clients.event("message", "a", lambda e, at=at: e["text"] == at)
                assert await control.fault("cut", phone=A) == 1
        await _all_acknowledged(control, A, 300)
        await clients.until(lambda: "load 299" in clients.texts("a"))
        assert clients.texts("a") == [f"load {index}" for index in range(300)]


async def test_killing_the_sandbox_loses_nothing_that_it_acknowledged(tmp_path: Path) -> None:
    async with _setup(tmp_path) as (sandbox, control, clients):
        ada = await control.create_phone()
        await clients.pair("a", A, control)
        confirmed: list[str] = []

        async def send() -> None:
            index = 0
            while True:
                await control.send(ada.phone, A, f"text {index}")
                confirmed.append(f"text {index}")
                index += 1

        for _ in range(2):
            since, before = len(clients.events), len(confirmed)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(send)
                await clients.until(lambda before=before: len(clients.texts("a")) > before + 30)
                nursery.cancel_scope.cancel()
                await sandbox.kill()
            await sandbox.start()
            await clients.event("connected", "a", since=since)
            back = await clients.call("send", "a", to=ada.phone, text="still here")
            await clients.event("receipt", "a", lambda e, back=back: e["ids"] == [back] and e["type"] == DELIVERED)
            assert back in [message.message_id for message in await control.messages(ada.phone)]
            last = await control.send(ada.phone, A, "and you")
            await clients.event("message", "a", lambda e, last=last: e["id"] == last)
        got = [text for text in clients.texts("a") if text.startswith("text ")]
        assert set(confirmed) <= set(got)
        ids = [event["id"] for event in clients.events if event["event"] == "message"]
        assert len(ids) == len(set(ids))
        assert not [event for event in clients.events if event["event"] == "undecryptable"]
        assert (await control.health()).online == 1


async def test_a_message_that_could_not_be_read_is_sent_again(tmp_path: Path) -> None:
    async with _setup(tmp_path) as (_, control, clients):
        ada = await control.create_phone()
        await clients.pair("a", A, control)
        await control.send(ada.phone, A, "first")
        await clients.event("message", "a", lambda e: e["text"] == "first")
        await clients.call("send", "a", to=ada.phone, text="from here on no prekeys are sent along")
        with sqlite3.connect(tmp_path / "clients.sqlite") as database:
            database.execute("DELETE FROM whatsmeow_sessions")
        database.close()
        sent = await control.send(ada.phone, A, "second")
        await clients.event("undecryptable", "a")
        got = await clients.event("message", "a", lambda e: e["text"] == "second")
        assert got["id"] == sent
        await _all_acknowledged(control, A, 2)


async def test_the_newer_connection_of_a_device_replaces_the_older(tmp_path: Path) -> None:
    async with _setup(tmp_path) as (sandbox, control, clients):
        jid = await clients.pair("a", A, control)
        async with neonize_clients(sandbox, tmp_path / "clients.sqlite") as others:
            since = len(clients.events)
            await others.call("start", "a", jid=jid)
            await others.event("connected", "a")
            await clients.event("replaced", "a")
            ada = await control.create_phone()
            await control.send(ada.phone, A, "to whom?")
            await others.event("message", "a", lambda e: e["text"] == "to whom?")
            assert not [e for e in clients.events[since:] if e["event"] in ("connected", "message")]


async def test_a_new_device_of_a_known_contact_is_written_to(tmp_path: Path) -> None:
    async with _setup(tmp_path) as (_, control, clients):
        await control.create_phone(X)
        await clients.pair("a", A, control)
        await clients.call("send", "a", to=X, text="to the phone alone")
        await control.messages(X, wait_s=10)
        await clients.pair("x", X, control)
        await clients.call("send", "a", to=X, text="to the phone and its new device")
        await clients.event("message", "x", lambda e: e["text"] == "to the phone and its new device")


async def test_a_removed_device_is_logged_out(tmp_path: Path) -> None:
    async with _setup(tmp_path) as (_, control, clients):
        await clients.pair("a", A, control)
        await control.unlink(A, 1)
        assert (await clients.event("logged_out", "a"))["on_connect"] is False
        assert (await control.phone(A)).devices == ()


async def test_a_server_that_is_down_refuses_clients_and_then_takes_them_back(tmp_path: Path) -> None:
    async with _setup(tmp_path) as (_, control, clients):
        ada = await control.create_phone()
        await clients.pair("a", A, control)
        since = len(clients.events)
        assert await control.fault("server_down", seconds=1.5) == 1
        assert (await control.health()).status == "down"
        await control.send(ada.phone, A, "sent into the outage")
        await clients.event("disconnected", "a", since=since)
        await clients.event("connected", "a", since=since)
        await clients.event("message", "a", lambda e: e["text"] == "sent into the outage")


async def test_a_qr_that_nobody_shows_is_refused(tmp_path: Path) -> None:
    async with _setup(tmp_path) as (_, control, clients):
        await clients.call("start", "a")
        qr = (await clients.event("qr", "a"))["qr"]
        for wrong in ("", "no code", qr.replace("2@", "2@x", 1)):
            with pytest.raises(SandboxRefused) as refused:
                await control.scan(A, wrong)
            assert (refused.value.http_status, refused.value.error) == (404, "unknown_qr")
        await control.scan(A, qr)
        with pytest.raises(SandboxRefused):
            await control.scan(B, qr)
