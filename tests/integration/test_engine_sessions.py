"""Sessions of the real neonize in their hosts, against the sandbox: pairing, both directions, what a death costs."""

import os
import signal
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest
import trio
from structlog.testing import capture_logs

from bridge.domain.questions import OnWhatsApp
from bridge.engine.answers import answer
from bridge.engine.codes import Code
from bridge.engine.errors import EngineDied, EngineDown, EngineError, EngineRefused, OutcomeUnknown
from bridge.ids import new_instance_key
from bridge.protos import neonize_pb
from supervisor import State
from tests.support.engine import SOON_S, Number, Rig, running_rig, settle_journal, text, text_of, until, until_text
from tests.support.stack import until as until_true

pytestmark = pytest.mark.engine


def alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def shows(pid: int, secret: str) -> bool:
    """Return whether a process shows a secret to everybody who lists processes."""
    return any(secret in Path(f"/proc/{pid}/{file}").read_text() for file in ("environ", "cmdline"))


def logged(folder: Path) -> str:
    return "".join(path.read_text() for path in folder.iterdir())


async def test_a_number_is_paired_alone_and_then_lives_in_a_shared_host(database_url: str, tmp_path: Path) -> None:
    async with running_rig(database_url, tmp_path) as rig:
        ada, bob = await rig.pair(), await rig.pair()
        one, two = await rig.online(ada), await rig.online(bob)
        assert one.host_pid == two.host_pid
        assert [child.name for child in rig.pool.snapshot().children] == ["host 0"], "the pairing hosts are gone"

        sent = await one.send(f"{bob.phone.phone}@s.whatsapp.net", text("from ada"), 20)
        received = neonize_pb.Message.FromString((await until_text(two, "from ada")).payload)
        assert sent.message_id == received.Info.ID

        await rig.phones.send(bob.phone.phone, ada.phone.phone, "from the phone of bob")
        await until_text(one, "from the phone of bob")
        await until_text(two, "from the phone of bob")

        known, unknown = await answer(one, OnWhatsApp((bob.phone.phone, "49150000")), 20)
        assert (known.exists, unknown.exists, unknown.jid) == (True, False, None)


async def test_a_pairing_host_ends_with_its_session(database_url: str, tmp_path: Path) -> None:
    async with running_rig(database_url, tmp_path) as rig:
        session = await rig.pool.pair(new_instance_key())
        await until(session, Code.QR)
        pid = session.host_pid
        with trio.fail_after(SOON_S):
            await session.close()
        assert not alive(pid)
        assert rig.pool.snapshot().children == ()
        assert [record async for record in session.events] == []


async def test_a_receipt_that_the_library_cannot_tell_ends_the_session_and_its_host_leaves_whatsapp(
    database_url: str, tmp_path: Path
) -> None:
    """neonize has no word for a receipt of that type and stops reporting; the client would go on acknowledging."""
    async with running_rig(database_url, tmp_path) as rig:
        ada, friend = await rig.pair(), await rig.phones.create_phone()
        session = await rig.online(ada)
        message_id = await rig.phones.send(friend.phone, ada.phone.phone, "before")
        await until_text(session, "before")
        await rig.phones.say(ada.phone.phone, [message_id], "server_error")
        ended = await until(session, Code.ENDED)
        assert b"Receipt.Type" in ended.payload
        await until_true(partial(is_away, rig, ada))
        await session.close()

        with trio.fail_after(SOON_S):
            while not await arrives_behind(rig, friend.phone, ada):
                await until_true(partial(is_away, rig, ada))


async def arrives_behind(rig: Rig, sender: str, number: Number) -> bool:
    """Send a text to a number that is away and open its session; False when the session ends before the text arrives.

    It may have left before it acknowledged the receipt that ended it: WhatsApp then sends that again to the next one.
    """
    words = f"behind it, at {trio.current_time()}"
    await rig.phones.send(sender, number.phone.phone, words)
    await settle_journal(rig.pool, number.key)
    session = await rig.pool.open(number.key, number.jid)
    async for record in session.events:
        session.ack(record.seq)
        if record.code == Code.ENDED:
            break
        if text_of(record) == words:
            return True
    await session.close()
    return False


async def is_away(rig: Rig, number: Number) -> bool:
    """Return whether WhatsApp has no connection with the number's linked device."""
    (device,) = (await rig.phones.phone(number.phone.phone)).devices
    return not device.online


async def test_a_killed_host_takes_its_own_sessions_down_and_no_others(database_url: str, tmp_path: Path) -> None:
    async with running_rig(database_url, tmp_path, sessions_per_host=1) as rig:
        ada, bob = await rig.pair(), await rig.pair()
        one, two = await rig.online(ada), await rig.online(bob)
        assert one.host_pid != two.host_pid
        os.kill(one.host_pid, signal.SIGKILL)
        with pytest.raises(EngineDown), trio.fail_after(SOON_S):
            async for _ in one.events:
                pass
        with pytest.raises(EngineDown) as down:
            await one.send(bob.phone.jid, text("never"), 5)
        assert down.value.certain

        await two.send(ada.phone.jid, text("still here"), 20)
        again = await rig.online(ada)
        await until_text(again, "still here")
        crashed = next(child for child in rig.pool.snapshot().children if child.restarts)
        assert crashed.last_error is not None and "SIGKILL" in crashed.last_error


async def test_a_send_whose_host_dies_under_it_may_have_gone_out(database_url: str, tmp_path: Path) -> None:
    async with running_rig(database_url, tmp_path) as rig:
        ada = await rig.pair()
        session = await rig.online(ada)
        os.kill(session.host_pid, signal.SIGSTOP)
        errors: list[EngineError] = []

        async def send() -> None:
            with pytest.raises(EngineDied) as died:
                await session.send(ada.phone.jid, text("perhaps"), 20)
            errors.append(died.value)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(send)
            await trio.testing.wait_all_tasks_blocked(0.05)
            os.kill(session.host_pid, signal.SIGKILL)
        assert not errors[0].certain


async def test_a_send_that_takes_too_long_may_have_gone_out_and_holds_nothing_up(
    database_url: str, tmp_path: Path
) -> None:
    async with running_rig(database_url, tmp_path) as rig:
        ada, bob = await rig.pair(), await rig.pair()
        one, two = await rig.online(ada), await rig.online(bob)
        await two.send(ada.phone.jid, text("warm"), 20)
        os.kill(one.host_pid, signal.SIGSTOP)
        try:
            with pytest.raises(OutcomeUnknown) as late:
                await one.send(bob.phone.jid, text("late"), 0.2)
            assert not late.value.certain
        finally:
            os.kill(one.host_pid, signal.SIGCONT)
        await two.send(ada.phone.jid, text("next"), 20)


async def test_what_was_not_acknowledged_before_a_death_comes_again(database_url: str, tmp_path: Path) -> None:
    async with running_rig(database_url, tmp_path) as rig:
        ada, friend = await rig.pair(), await rig.phones.create_phone()
        session = await rig.online(ada)
        count = 60
        await rig.phones.send_many(friend.phone, [ada.phone.phone], count=count, prefix="text")
        seen = set()
        with trio.fail_after(SOON_S):
            async for record in session.events:
                seen.add(text_of(record))
                if text_of(record) == f"text {count - 1}":
                    break
                if len(seen) <= count // 2:
                    session.ack(record.seq)
        os.kill(session.host_pid, signal.SIGKILL)
        with pytest.raises(EngineDown), trio.fail_after(SOON_S):
            async for _ in session.events:
                pass
        left = [text_of(record) for record in await rig.pool.drain(ada.key)]
        assert [words for words in left if words][-count // 2 :] == [f"text {n}" for n in range(count // 2, count)]

        again = await rig.pool.open(ada.key, ada.jid)
        replayed = await until_text(again, f"text {count - 1}")
        assert replayed.replayed


@pytest.mark.parametrize(
    ("end", "lost"),
    [
        pytest.param(signal.SIGKILL, 1, id="killed"),
        pytest.param(signal.SIGTERM, 0, id="told that its bridge is gone"),
    ],
)
async def test_a_host_that_ends_under_load_costs_nothing_or_when_killed_the_text_in_its_hands(
    database_url: str, tmp_path: Path, end: signal.Signals, lost: int
) -> None:
    """Between the library's commit of a decrypted message and our journal lies a moment; only a kill hits it."""
    async with running_rig(database_url, tmp_path) as rig:
        ada, friend = await rig.pair(), await rig.phones.create_phone()
        arrived: set[str] = set()
        count = 200

        async def consume(until_all: bool) -> None:
            session = await rig.pool.open(ada.key, ada.jid)
            try:
                async for record in session.events:
                    arrived.add(text_of(record))
                    session.ack(record.seq)
                    if until_all and len(arrived - {""}) >= count:
                        return
                    if until_all and text_of(record) == f"load {count - 1}":
                        return  # texts come in order: what is missing now does not come
                    if not until_all and len(arrived) == count // 4:
                        os.kill(session.host_pid, end)
            except EngineDown:
                return

        with trio.move_on_after(60):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(
                    lambda: rig.phones.send_many(friend.phone, [ada.phone.phone], count=count, rate=200, prefix="load")
                )
                await consume(until_all=False)
                arrived |= {text_of(record) for record in await settle_journal(rig.pool, ada.key)}
                await consume(until_all=True)
        assert len({f"load {n}" for n in range(count)} - arrived) <= lost


async def test_closing_a_session_frees_its_place_and_keeps_what_was_not_acknowledged(
    database_url: str, tmp_path: Path
) -> None:
    async with running_rig(database_url, tmp_path, sessions_per_host=1) as rig:
        ada, friend = await rig.pair(), await rig.phones.create_phone()
        session = await rig.online(ada)
        await rig.phones.send(friend.phone, ada.phone.phone, "unread")
        with trio.fail_after(SOON_S):
            async for record in session.events:
                if text_of(record) == "unread":
                    break
        await session.close()
        with pytest.raises(EngineRefused):
            await session.send(friend.jid, text("no"), 5)
        assert "unread" in [text_of(record) for record in await rig.pool.drain(ada.key)]
        again = await rig.online(ada)
        assert [child.name for child in rig.pool.snapshot().children] == ["host 0"]
        await again.close()


async def test_a_stop_does_not_wait_for_a_host_that_is_kept_a_while(database_url: str, tmp_path: Path) -> None:
    with trio.fail_after(60):
        async with running_rig(database_url, tmp_path, retire_after_s=600) as rig:
            session = await rig.online(await rig.pair())
            await session.close()


async def test_a_start_that_can_not_get_through_says_so_and_leaves_no_session(
    database_url: str, tmp_path: Path
) -> None:
    async with running_rig(database_url, tmp_path) as rig:
        ada = await rig.pair()
        await rig.sandbox.stop()
        with pytest.raises(EngineError, match="proxy does not answer"):
            await rig.pool.open(ada.key, ada.jid)
        await rig.sandbox.start()
        await (await rig.online(ada)).close()


async def test_a_library_that_aborts_takes_one_host_and_the_next_start_gets_another(
    database_url: str, tmp_path: Path
) -> None:
    async with running_rig(database_url, tmp_path) as rig:
        ada = await rig.pair()
        with pytest.raises(EngineDown):  # a device that the database does not have
            await rig.pool.open(new_instance_key(), "4915099:1@s.whatsapp.net")
        await (await rig.online(ada)).close()


async def test_a_session_is_open_once(database_url: str, tmp_path: Path) -> None:
    async with running_rig(database_url, tmp_path) as rig:
        ada = await rig.pair()
        await rig.online(ada)
        with pytest.raises(EngineRefused, match="open already"):
            await rig.pool.open(ada.key, ada.jid)


async def test_a_logout_is_reported_and_the_slot_can_be_used_again(database_url: str, tmp_path: Path) -> None:
    async with running_rig(database_url, tmp_path) as rig:
        ada, bob = await rig.pair(), await rig.pair()
        session = await rig.online(ada)
        device = int(ada.jid.partition(":")[2].partition("@")[0])
        await rig.phones.unlink(ada.phone.phone, device)
        report = neonize_pb.LoggedOut.FromString((await until(session, Code.LOGGED_OUT)).payload)
        assert not report.OnConnect
        await session.close()
        await (await rig.online(bob)).close()


async def test_starts_and_stops_beside_sends_kill_nothing(database_url: str, tmp_path: Path) -> None:
    async with running_rig(database_url, tmp_path) as rig:
        numbers = [await rig.pair() for _ in range(4)]
        steady = await rig.online(numbers[0])
        pid, sends, flapping = steady.host_pid, 0, 3

        async def flap(number: int) -> None:
            nonlocal flapping
            for _ in range(6):
                session = await rig.online(numbers[number])
                await session.close()
            flapping -= 1

        async with trio.open_nursery() as nursery:
            for number in (1, 2, 3):
                nursery.start_soon(flap, number)
            while flapping:
                await steady.send(numbers[1].phone.jid, text("steady"), 20)
                sends += 1
        assert sends > 0
        assert rig.pool.snapshot().children[0].restarts == 0
        assert steady.host_pid == pid


async def test_idle_sessions_hold_no_connection_and_work_again(database_url: str, tmp_path: Path) -> None:
    async with running_rig(database_url, tmp_path, idle_ms=1000) as rig:
        ada, friend = await rig.pair(), await rig.phones.create_phone()
        session = await rig.online(ada)

        def connections() -> int:
            with psycopg.connect(database_url) as conn:
                row = conn.execute(
                    "select count(*) from pg_stat_activity"
                    " where datname = current_database() and application_name = 'whatsapp-bridge-engine'"
                ).fetchone()
                assert row is not None
                return int(row[0])

        assert await trio.to_thread.run_sync(connections) > 0
        with trio.fail_after(SOON_S):
            while await trio.to_thread.run_sync(connections):  # noqa: ASYNC110 - only PostgreSQL knows
                await trio.sleep(0.1)
        await session.send(friend.jid, text("awake"), 20)


async def test_a_stop_ends_hosts_in_good_order_and_leaves_no_secret_behind(database_url: str, tmp_path: Path) -> None:
    async with running_rig(database_url, tmp_path) as rig:
        ada = await rig.pair()
        session = await rig.online(ada)
        pid = session.host_pid
        password = urlsplit(database_url).password
        assert password is not None
        assert not shows(pid, password)
        assert os.listdir(f"/proc/{pid}/cwd") == [], "the engine wrote into its folder"  # noqa: PTH208
        with capture_logs() as told, trio.fail_after(SOON_S):
            await rig.sandbox.stop()
            while not any(one["event"] == "engine.library" for one in told):  # noqa: ASYNC110 - the library decides
                await trio.sleep(0.05)
    assert not alive(pid)
    (warned,) = {(one["host"], one["instance"]) for one in told if one["event"] == "engine.library"}
    assert warned == ("host 0", ada.key)
    shown = logged(tmp_path / "logs")
    assert "Press Ctrl+C" in shown, "this is where the engine's output goes"
    assert password not in shown
    assert "postgres://" not in shown.replace("postgres://***", "")
    assert rig.pool.snapshot().state is State.STOPPED


async def test_everything_a_session_reports_arrives_in_order(database_url: str, tmp_path: Path) -> None:
    async with running_rig(database_url, tmp_path) as rig:
        ada, friend = await rig.pair(), await rig.phones.create_phone()
        session = await rig.online(ada)
        await rig.phones.send_many(friend.phone, [ada.phone.phone], count=100, prefix="n")
        last, texts = 0, []
        with trio.fail_after(SOON_S):
            async for record in session.events:
                assert record.seq > last
                last = record.seq
                texts.append(text_of(record))
                if texts[-1] == "n 99":
                    break
        assert [word for word in texts if word.startswith("n ")] == [f"n {number}" for number in range(100)]
