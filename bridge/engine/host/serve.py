"""Carries out what the bridge asks: each call on a thread of its own, so that a stuck one holds up nothing else."""

import os
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path

from bridge.engine.host import log, preflight
from bridge.engine.host.gate import Gate, HeldBack
from bridge.engine.host.library import METHODS, Library, Start
from bridge.engine.host.output import Output
from bridge.engine.host.sessions import QUIET_S, HostSession, Life, StillOwned
from bridge.engine.host.transfers import METHODS as TRANSFERS
from bridge.engine.host.transfers import NoTurn, Turns
from bridge.engine.wire import Call, Close, FromBridge, Hello, Open, Ping, Pong, Progress, Reply, Stop

CALL_THREADS = 128
QUIET_LIMIT_S = 1.0
END_TIMEOUT_S = 5.0
"""How long a stopped client may take to let its thread go."""
EXIT_STUCK = 70
"""Exit status when the library did not do what it always does: the process can't be trusted any more."""


class Refused(Exception):
    """The library is not called:"""


class StartFailed(Exception):
    """The library could not start the session:"""


class Host:
    """The sessions of this process and what can be done with them."""

    def __init__(self, library: Library, hello: Hello, output: Output) -> None:
        self._library = library
        self._hello = hello
        self._proxy = hello.sandbox.proxy if hello.sandbox is not None else None
        self._output = output
        self._gate = Gate()
        self._turns = Turns()
        self._sessions: dict[str, HostSession] = {}
        self._mutex = threading.Lock()
        self._threads = ThreadPoolExecutor(CALL_THREADS, thread_name_prefix="call")
        self._taken_keys: set[str] = set()
        self._starts = 0

    def handle(self, message: FromBridge) -> None:
        """Begin with one request; never blocks."""
        match message:
            case Progress():
                session = self._sessions.get(message.key)
                if session is not None and session.opened == message.opened:
                    session.progress(message.taken, message.acked)
            case Call(method=method) if method in TRANSFERS:
                # not from the pool: files would take the threads of texts
                threading.Thread(
                    target=self._answer, args=(message.call, partial(self._transfer, message)), daemon=True
                ).start()
            case Call():
                self._threads.submit(self._answer, message.call, partial(self._call, message))
            case Open():
                # not from the pool: a start may have to wait for its turn at the gate
                threading.Thread(
                    target=self._answer, args=(message.call, partial(self._open, message)), daemon=True
                ).start()
            case Close():
                threading.Thread(
                    target=self._answer, args=(message.call, partial(self._close, message.key)), daemon=True
                ).start()
            case Ping():
                self._output.put(self._pong(message.number))
            case Stop():
                threading.Thread(target=self._stop, args=(message.grace_s,), daemon=True).start()
            case Hello():
                raise Refused("a second handshake")

    def _answer(self, call: int, work: Callable[[], bytes]) -> None:
        try:
            reply = Reply(call, work())
        except (Refused, StillOwned, preflight.Unreachable) as error:
            reply = Reply(call, refused=" ".join(filter(None, [(error.__doc__ or "").rstrip(":."), str(error)])))
        except HeldBack:
            reply = Reply(call, refused="a start or a stop was in the way")
        except StartFailed as error:
            reply = Reply(call, error=str(error))
        except Exception as error:
            reply = Reply(call, error=repr(error))
        self._output.put(reply)

    def _open(self, message: Open) -> bytes:
        preflight.check(self._hello.database_url, self._proxy)
        session = self._prepare(message)
        started = False
        try:
            with self._gate.change():
                threading.Thread(
                    target=session.run, args=(partial(self._run, message.jid),), name=message.key, daemon=True
                ).start()
                if not session.settled.wait(self._hello.settle_timeout_s):
                    self._die(f"start of {message.key} did not settle")
                started = session.go_live()
                if not started:
                    self._library.stop(session.client)
        finally:
            if not started:
                self._remove(session)
        if not started:
            raise StartFailed(session.error or "the library returned at once")
        return b""

    def _prepare(self, message: Open) -> HostSession:
        with self._mutex:
            if message.key in self._taken_keys:
                raise Refused("the session is open already")
            self._taken_keys.add(message.key)
            self._starts += 1
            client = f"{message.key}-{self._starts}".encode()
        try:
            session = HostSession(message.key, message.call, client, Path(self._hello.journal_dir), self._output)
        except BaseException:
            self._taken_keys.discard(message.key)
            raise
        self._sessions[message.key] = session
        return session

    def _run(self, jid: bytes, session: HostSession) -> str:
        error = self._library.run(
            Start(
                session.client,
                self._hello.database_url,
                jid,
                self._hello.device_props,
                self._proxy,
                self._hello.history,
            ),
            session.record,
            partial(self._log, session),
        )
        self._leave(session)
        return error

    def _leave(self, session: HostSession) -> None:
        """Leave WhatsApp when the library's call ended by itself: it would go on to acknowledge what nobody takes."""
        if session.life is not Life.LIVE:
            return  # a start that failed is stopped by who started it, who holds the gate
        with suppress(HeldBack), self._gate.call(time.monotonic() + END_TIMEOUT_S):
            if session.life is Life.LIVE:  # else a stop is under way, behind which the library knows no such client
                self._library.call("Disconnect", session.client, ())

    def _log(self, session: HostSession, entry: bytes) -> None:
        ignored = log.ignored(log.write(entry, session.key))
        if ignored is not None:
            session.note_ignored(ignored)

    def _live(self, key: str) -> HostSession:
        session = self._sessions.get(key)
        if session is None or session.life is not Life.LIVE or session.ended.is_set():
            raise Refused("the session is not open")
        return session

    def _call(self, message: Call) -> bytes:
        if message.method not in METHODS:
            raise Refused(f"there is no {message.method}")
        session = self._live(message.key)
        if not session.calls.acquire(blocking=False):
            raise Refused("too many calls of this session are under way")
        try:
            with self._gate.call(message.expires_at):
                self._live(message.key)  # a stop may have come first
                if time.monotonic() > message.expires_at:
                    raise HeldBack
                return self._library.call(message.method, session.client, message.arguments)
        finally:
            session.calls.release()

    def _transfer(self, message: Call) -> bytes:
        session = self._live(message.key)
        *arguments, size_bytes = message.arguments
        try:
            with self._turns.take(int(size_bytes), message.expires_at), self._gate.call(message.expires_at):
                self._live(message.key)
                return TRANSFERS[message.method](self._library.transfers, session.client, *arguments)
        except NoTurn as error:
            raise Refused((error.__doc__ or "").rstrip(":.")) from error

    def _close(self, key: str) -> bytes:
        with self._mutex:
            session = self._sessions.get(key)
            if session is None or session.life is not Life.LIVE:
                raise Refused("the session is not open")
            session.life = Life.CLOSING
        self._disconnect(session)
        with self._gate.change():
            self._library.stop(session.client)
        if not session.ended.wait(END_TIMEOUT_S):
            self._die(f"{key} does not end")
        self._remove(session)
        return b""

    def _disconnect(self, session: HostSession) -> None:
        """Leave WhatsApp, and wait until everything that was acknowledged there is in the journal."""
        deadline = time.monotonic() + QUIET_LIMIT_S
        if not session.ended.is_set():
            with self._gate.call(deadline + END_TIMEOUT_S):
                self._library.call("Disconnect", session.client, ())
        left_at = time.monotonic()
        while min(time.monotonic() - left_at, session.quiet_for_s()) < QUIET_S and time.monotonic() < deadline:
            time.sleep(QUIET_S / 5)

    def _remove(self, session: HostSession) -> None:
        session.life = Life.ENDED
        self._output.flush(END_TIMEOUT_S)
        session.close()
        del self._sessions[session.key]
        self._taken_keys.discard(session.key)

    def leave(self) -> list[HostSession]:
        """Disconnect every session, and return them when what they acknowledged is in their journals."""
        with self._mutex:
            sessions = [session for session in self._sessions.values() if session.life is Life.LIVE]
            for session in sessions:
                session.life = Life.CLOSING
        leaving = [threading.Thread(target=self._disconnect, args=(session,), daemon=True) for session in sessions]
        for thread in leaving:
            thread.start()
        for thread in leaving:
            thread.join()
        return sessions

    def _stop(self, grace_s: float) -> None:
        """Leave WhatsApp with every session, then exit; when that takes too long, exit all the same."""
        late = threading.Timer(grace_s, os._exit, (EXIT_STUCK,))
        late.daemon = True
        late.start()
        sessions = self.leave()
        with self._gate.change():
            for session in sessions:
                self._library.stop(session.client)
        self._output.flush(grace_s)
        os._exit(0)

    def _die(self, reason: str) -> None:
        print(f"engine host gives up: {reason}", file=sys.stderr, flush=True)
        os._exit(EXIT_STUCK)

    def _pong(self, number: int) -> Pong:
        sessions = list(self._sessions.values())
        slowest_s = max((session.slowest_append_s for session in sessions), default=0.0)
        for session in sessions:
            session.slowest_append_s = 0.0
        fields = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines() if ":" in line)
        return Pong(
            number,
            len(sessions),
            int(fields["VmRSS"].split()[0]),
            int(fields["Threads"]),
            sum(session.records for session in sessions),
            int(slowest_s * 1e6),
        )
