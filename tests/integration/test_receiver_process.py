"""The command `receiver` as a process: how it says that it is ready, and how it ends."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress

import httpx2
import psycopg
import pytest

from tests.support.receiver import DEADLINE_S, SECRET, Process, body_of, process, signed

WAITS = "select from pg_stat_activity where wait_event_type = 'Lock' and query like %s"


def end_of(popen: subprocess.Popen[str]) -> int:
    return popen.wait(timeout=DEADLINE_S)


def post(url: str, number: int) -> httpx2.Response:
    body = body_of(number)
    return httpx2.post(url, content=body.encode(), headers=signed(f"evt_{number}", body), trust_env=False)


def post_to_a_dying_receiver(url: str) -> None:
    with suppress(httpx2.TransportError):
        post(url, 1)


def test_it_prints_one_line_stores_and_exits_0_on_sigterm(empty_database_url: str) -> None:
    with process(env={"RECEIVER_DATABASE_URL": empty_database_url, "RECEIVER_SECRET": SECRET}) as receiver:
        assert receiver.ready == {"ready": True, "url": receiver.url, "pid": receiver.popen.pid}
        assert post(receiver.url, 1).json() == {"status": "stored"}
        receiver.popen.terminate()
        assert end_of(receiver.popen) == 0
        output, log = receiver.popen.communicate()
        assert output == ""
        assert "receiver.stopped" in log
        for hidden in (SECRET, empty_database_url, "grüß"):
            assert hidden not in log


def test_what_was_answered_with_200_survives_kill_9(empty_database_url: str) -> None:
    arguments = ("--database-url", empty_database_url, "--secret", SECRET)
    answered: list[int] = []
    with process(*arguments) as receiver:

        def send() -> None:
            with suppress(httpx2.TransportError):
                for number in range(10_000):
                    assert post(receiver.url, number).status_code == 200
                    answered.append(number)
                    if number == 30:
                        half_way.set()

        half_way = threading.Event()
        sender = threading.Thread(target=send)
        sender.start()
        assert half_way.wait(DEADLINE_S)
        receiver.popen.kill()
        sender.join(DEADLINE_S)
    with psycopg.connect(empty_database_url) as database:
        stored = {row[0] for row in database.execute("select seq from receiver.event").fetchall()}
    assert stored.issuperset(answered)
    with process(*arguments) as receiver:
        assert post(receiver.url, answered[-1]).json() == {"status": "duplicate"}


def test_a_request_in_flight_is_answered_before_the_exit(empty_database_url: str) -> None:
    with (
        process("--database-url", empty_database_url, "--secret", SECRET) as receiver,
        psycopg.connect(empty_database_url) as other,
    ):
        other.execute("lock table receiver.event in exclusive mode")
        answers: list[int] = []
        sender = threading.Thread(target=lambda: answers.append(post(receiver.url, 1).status_code))
        sender.start()
        until_the_insert_waits(empty_database_url)
        receiver.popen.terminate()
        until_refused(receiver)
        assert answers == []
        other.rollback()
        sender.join(DEADLINE_S)
        assert answers == [200]
        assert end_of(receiver.popen) == 0


def test_it_ends_within_five_seconds_whatever_is_in_flight(empty_database_url: str) -> None:
    with (
        process("--database-url", empty_database_url, "--secret", SECRET) as receiver,
        psycopg.connect(empty_database_url) as other,
        socket.create_connection(receiver.url.removeprefix("http://").split(":")) as client,  # type: ignore[arg-type]
    ):
        other.execute("lock table receiver.event in exclusive mode")
        client.sendall(b"POST / HTTP/1.1\r\n")
        sender = threading.Thread(target=post_to_a_dying_receiver, args=(receiver.url,))
        sender.start()
        until_the_insert_waits(empty_database_url)
        begun = time.monotonic()
        receiver.popen.terminate()
        assert end_of(receiver.popen) == 0
        assert time.monotonic() - begun < 5
        sender.join(DEADLINE_S)


def test_it_ends_with_its_stdin(empty_database_url: str) -> None:
    with process("--database-url", empty_database_url, "--secret", SECRET) as receiver:
        assert receiver.popen.stdin is not None
        receiver.popen.stdin.close()
        receiver.popen.stdin = None
        assert end_of(receiver.popen) == 0


def test_the_end_of_the_thread_that_started_it_does_not_end_it(empty_database_url: str) -> None:
    """Linux sends the parent-death signal then; Trio starts processes from threads."""
    started: list[Process] = []
    with ExitStack() as stack:
        arguments = ("--database-url", empty_database_url, "--secret", SECRET)
        thread = threading.Thread(target=lambda: started.append(stack.enter_context(process(*arguments))))
        thread.start()
        thread.join(DEADLINE_S)
        assert post(started[0].url, 1).status_code == 200
        assert started[0].popen.poll() is None


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child of its parent's death")
def test_it_does_not_outlive_a_killed_parent_whose_pipe_somebody_else_holds(empty_database_url: str) -> None:
    reader, writer = os.pipe()
    command = [sys.executable, "-m", "receiver", "--json", "--parent-pipe", "--port", "0"]
    code = f"import subprocess; p = subprocess.Popen({command!r}, stdin={reader}, pass_fds=({reader},)); p.wait()"
    env = {**os.environ, "RECEIVER_DATABASE_URL": empty_database_url, "RECEIVER_SECRET": SECRET}
    with subprocess.Popen(
        [sys.executable, "-c", code],
        pass_fds=(reader,),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=env,
    ) as middle:
        assert middle.stdout is not None
        assert '"ready": true' in middle.stdout.readline()
        middle.send_signal(signal.SIGKILL)
        assert middle.stdout.read() == ""  # the end of file comes when the receiver, which shares it, has ended
    os.close(reader)
    os.close(writer)


@pytest.mark.parametrize(
    ("env", "reason"),
    [({"RECEIVER_DATABASE_URL": "dbname=x"}, "no secret"), ({"RECEIVER_SECRET": SECRET}, "no database")],
)
def test_a_missing_setting_ends_it_with_2(env: dict[str, str], reason: str) -> None:
    with process(env=env, ready=False) as receiver:
        assert end_of(receiver.popen) == 2
        output, log = receiver.popen.communicate()
        assert output == ""
        assert reason in log


def test_a_taken_port_ends_it_with_1(empty_database_url: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        arguments = ("--database-url", empty_database_url, "--secret", SECRET, "--port", str(taken.getsockname()[1]))
        with process(*arguments, ready=False) as receiver:
            assert end_of(receiver.popen) == 1
            assert "receiver.cannot_listen" in receiver.popen.communicate()[1]


def until_the_insert_waits(url: str) -> None:
    """Wait until a webhook's insert does: what removes old events at the start may wait for the same lock."""
    insert = "%insert into receiver.event%"
    with psycopg.connect(url, autocommit=True) as other:
        _until(lambda: other.execute(WAITS, (insert,)).fetchone() is not None)


def until_refused(receiver: Process) -> None:
    """Wait until the drain has begun: nobody listens any more."""
    host, port = receiver.url.removeprefix("http://").split(":")

    def refused() -> bool:
        try:
            socket.create_connection((host, int(port)), timeout=1).close()
        except OSError:
            return True
        return False

    _until(refused)


def _until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)
