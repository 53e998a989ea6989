"""The embedded PostgreSQL: keeps its data, keeps to itself, and never outlives who started it."""

import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import psycopg
import pytest
import trio

from bridge.store import embedded, postgres_data, postgres_files
from bridge.store.errors import DataDirectoryBusy, EmbeddedError

PARENT = """
import sys
from pathlib import Path
from bridge.store import embedded
running = embedded.start(Path(sys.argv[1]))
print(running.pid, running.dsn, flush=True)
sys.stdin.read()
"""
FAST = {"fsync": "off"}


@pytest.fixture(scope="module")
def prepared() -> Iterator[Path]:
    """Return a folder with data that was made once, for the tests to copy."""
    folder = Path(tempfile.mkdtemp(prefix="bridge-test-prepared-"))
    embedded.stop(embedded.start(folder, settings=FAST))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def state_dir(prepared: Path) -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="bridge-test-state-"))
    subprocess.run(["cp", "-a", f"{prepared}/.", folder], check=True)
    yield folder
    shutil.rmtree(folder)


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_gone(pid: int, deadline_s: float) -> None:
    fd = os.pidfd_open(pid) if is_running(pid) else None
    if fd is not None:
        import select

        poll = select.poll()
        poll.register(fd, select.POLLIN)
        assert poll.poll(deadline_s * 1000), f"{pid} is still running"
        os.close(fd)


def start_parent(state_dir: Path) -> tuple[subprocess.Popen[str], int, str]:
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, state_dir], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    pid, dsn = parent.stdout.readline().split()
    return parent, int(pid), dsn


def end_parent(parent: subprocess.Popen[str]) -> None:
    parent.kill()
    parent.wait()
    parent.stdin.close()
    parent.stdout.close()


def test_data_stays_between_runs(state_dir):
    for run in range(2):
        running = embedded.start(state_dir)
        try:
            with psycopg.connect(running.dsn) as conn:
                if run == 0:
                    conn.execute("create table t (x text)")
                    conn.execute("insert into t values ('kept')")
                else:
                    assert conn.execute("select x from t").fetchone() == ("kept",)
        finally:
            embedded.stop(running)
        assert not is_running(running.pid)


def test_it_ends_with_its_parent_even_after_sigkill_and_starts_again_in_two_seconds(state_dir):
    parent, pid, dsn = start_parent(state_dir)
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute("create table t (x int)")
    end_parent(parent)
    began = time.perf_counter()
    running = embedded.start(state_dir)
    try:
        assert time.perf_counter() - began < 2
        assert not is_running(pid)
        with psycopg.connect(running.dsn) as again:
            assert again.execute("select count(*) from t").fetchone() == (0,)
    finally:
        embedded.stop(running)


def test_a_client_that_is_there_when_the_parent_dies_can_finish(state_dir):
    parent, pid, dsn = start_parent(state_dir)
    with psycopg.connect(dsn, autocommit=True) as conn:
        end_parent(parent)
        with pytest.raises(psycopg.OperationalError, match="shutting down"):
            while True:  # until it has heard of its parent's death
                psycopg.connect(dsn).close()
        assert conn.execute("select 1").fetchone() == (1,)
    wait_gone(pid, 5)


def test_a_client_that_does_not_finish_cannot_keep_the_next_one_from_starting(state_dir, monkeypatch):
    monkeypatch.setattr(postgres_data, "LEAVE_S", 0.1)
    parent, pid, dsn = start_parent(state_dir)
    with psycopg.connect(dsn, autocommit=True):
        end_parent(parent)
        running = embedded.start(state_dir)
        try:
            assert not is_running(pid)
        finally:
            embedded.stop(running)


def test_it_ends_with_its_parent_although_nobody_starts_it_again(state_dir):
    parent, pid, _ = start_parent(state_dir)
    end_parent(parent)
    wait_gone(pid, 5)


def test_a_killed_postgresql_recovers_what_was_committed(state_dir):
    running = embedded.start(state_dir)
    with psycopg.connect(running.dsn, autocommit=True) as conn:
        conn.execute("create table t as select 1 as x")
        os.kill(running.pid, signal.SIGKILL)
        running._process.wait()
    embedded.stop(running)
    running = embedded.start(state_dir)
    try:
        with psycopg.connect(running.dsn) as conn:
            assert conn.execute("select x from t").fetchone() == (1,)
    finally:
        embedded.stop(running)


def test_a_leftover_on_the_same_data_is_stopped_first(state_dir):
    leftover = embedded.start(state_dir)
    leftover._lock.close()  # what remains when a process dies without PostgreSQL hearing of it
    running = embedded.start(state_dir)
    try:
        assert leftover._process.wait(5) is not None
        with psycopg.connect(running.dsn) as conn:
            assert conn.execute("select 1").fetchone() == (1,)
    finally:
        embedded.stop(running)
        embedded.stop(leftover)


def test_a_pid_file_that_names_another_program_harms_nobody(state_dir):
    bystander = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    data = next(state_dir.glob("data-*"))
    (data / "postmaster.pid").write_text(f"{bystander.pid}\n{data}\n1\n2\n\n127.0.0.1\n 1 2\nready\n")
    running = embedded.start(state_dir)
    embedded.stop(running)
    assert bystander.poll() is None
    bystander.communicate(b"\n", timeout=5)


def test_a_second_bridge_on_the_same_data_is_refused_clearly(state_dir):
    running = embedded.start(state_dir)
    try:
        with pytest.raises(DataDirectoryBusy, match=f"process {os.getpid()}"):
            embedded.start(state_dir)
        with psycopg.connect(running.dsn) as conn:
            assert conn.execute("select 1").fetchone() == (1,)
    finally:
        embedded.stop(running)


def test_it_is_small_durable_and_takes_500_connections(state_dir):
    running = embedded.start(state_dir)
    try:
        with psycopg.connect(running.dsn) as conn:
            for name, value in (
                ("fsync", "on"),
                ("jit", "off"),
                ("max_connections", "500"),
                ("port", str(running.port)),
            ):
                assert conn.execute("select current_setting(%s)", (name,)).fetchone() == (value,)
        assert pss_bytes(running.pid) < 40e6
    finally:
        embedded.stop(running)


def pss_bytes(postmaster: int) -> int:
    total = 0
    for process in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((process / "stat").read_text().rpartition(")")[2].split()[1])
            if postmaster in (parent, int(process.name)):
                rollup = (process / "smaps_rollup").read_text()
                total += int(rollup.partition("\nPss:")[2].split()[0]) * 1024
        except (FileNotFoundError, ProcessLookupError):
            continue
    assert total > 0
    return total


def test_the_password_is_asked_for_and_shown_nowhere(state_dir):
    running = embedded.start(state_dir)
    password = (state_dir / "password").read_text()
    try:
        assert password in running.dsn
        assert password not in repr(running)
        assert password not in Path(f"/proc/{running.pid}/cmdline").read_text()
        with pytest.raises(psycopg.OperationalError):
            psycopg.connect(running.dsn.replace(password, "guess"))
        with psycopg.connect(running.dsn, autocommit=True) as conn, pytest.raises(psycopg.Error):
            conn.execute("select 'a secret message'::int")
    finally:
        embedded.stop(running)
    log = running.log_file.read_text()
    assert password not in log
    assert "guess" not in log
    assert (state_dir / "password").stat().st_mode & 0o077 == 0
    assert next(state_dir.glob("data-*")).stat().st_mode & 0o077 == 0


def test_it_is_spoken_to_over_a_socket_that_is_closed_to_others(state_dir):
    running = embedded.start(state_dir, settings=FAST)
    try:
        for url in (running.dsn, embedded.running_dsn(state_dir)):
            with psycopg.connect(url) as conn:
                assert conn.execute("select inet_client_addr()").fetchone() == (None,)
                assert conn.info.host == str(running.sockets)
        assert running.sockets.stat().st_mode & 0o077 == 0
        beside = running.dsn.replace("@/", f"@127.0.0.1:{running.port}/").partition("?")[0]
        with psycopg.connect(beside) as conn:  # for tools that know no sockets
            assert conn.execute("select inet_client_addr() is not null").fetchone() == (True,)
    finally:
        embedded.stop(running)


@pytest.mark.parametrize("name", ["a" * 100, "one, two", 'a "quote"'])
def test_where_the_path_does_not_fit_a_socket_it_is_spoken_to_over_loopback(state_dir, name):
    folder = state_dir / name
    running = embedded.start(folder, settings=FAST)
    try:
        for url in (running.dsn, embedded.running_dsn(folder)):
            with psycopg.connect(url) as conn:
                assert conn.info.host == "127.0.0.1"
    finally:
        embedded.stop(running)


def test_a_broken_data_directory_says_why(state_dir):
    (next(state_dir.glob("data-*")) / "global" / "pg_control").unlink()
    with pytest.raises(EmbeddedError, match="pg_control"):
        embedded.start(state_dir)
    shutil.rmtree(next(state_dir.glob("data-*")))
    embedded.stop(embedded.start(state_dir, settings=FAST))  # the lock was given back


async def test_as_a_supervised_child_it_runs_until_told_to_stop(state_dir):
    stop = trio.Event()
    async with trio.open_nursery() as nursery:
        running = await nursery.start(partial(embedded.run, state_dir, stop=stop))
        dsn = await trio.to_thread.run_sync(running.database, "receiver")
        with psycopg.connect(dsn) as conn:
            assert conn.execute("select current_database()").fetchone() == ("receiver",)
        stop.set()
    assert not is_running(running.pid)


async def test_as_a_supervised_child_it_is_stopped_by_a_cancellation_too(state_dir):
    async with trio.open_nursery() as nursery:
        running = await nursery.start(partial(embedded.run, state_dir, stop=trio.Event()))
        nursery.cancel_scope.cancel()
    assert not is_running(running.pid)


async def test_a_supervisor_hears_of_its_death(state_dir):
    with trio.fail_after(10), pytest.RaisesGroup(EmbeddedError):
        async with trio.open_nursery() as nursery:
            running = await nursery.start(partial(embedded.run, state_dir, stop=trio.Event()))
            os.kill(running.pid, signal.SIGKILL)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs it as another user")
def test_root_gives_it_an_unprivileged_user_and_a_place_that_user_can_reach(state_dir, tmp_path, monkeypatch):
    running = embedded.start(state_dir)
    assert Path(f"/proc/{running.pid}").stat().st_uid != 0
    embedded.stop(running)

    elsewhere = tmp_path / "var"
    monkeypatch.setattr(postgres_files, "ELSEWHERE", elsewhere)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    closed = tmp_path / "closed" / "state"
    closed.parent.mkdir(mode=0o700)
    homes = set()
    for _ in range(2):
        running = embedded.start(closed, settings=FAST)
        homes.add(running.home)
        embedded.stop(running)
    assert len(homes) == 1
    assert homes.pop().parent == elsewhere
    assert closed.parent.stat().st_mode & 0o777 == 0o700


@pytest.mark.skipif(os.geteuid() != 0, reason="every other test here runs as a plain user then")
def test_programs_that_others_cannot_read_are_linked_to_where_they_can(tmp_path, monkeypatch):
    monkeypatch.setattr(postgres_files, "passable", lambda folder: False)
    home = Path(tempfile.mkdtemp(prefix="bridge-test-home-"))
    try:
        for _ in range(2):
            programs = postgres_files.find_bin(home)
            assert programs.is_relative_to(home)
            nobody = pwd.getpwnam("nobody").pw_uid
            home.chmod(0o711)
            shown = subprocess.run([programs / "initdb", "-V"], user=nobody, capture_output=True, cwd="/", check=True)
            assert b"PostgreSQL" in shown.stdout
    finally:
        shutil.rmtree(home)
