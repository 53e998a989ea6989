"""Keeps what the sandbox must not forget in one SQLite file, and says when it is safe to speak of it.

The rule: **nothing leaves the process before what it tells is committed.** Handlers change rows as they go, in one open
transaction; whoever sends (a connection's writer, the control API) first awaits `settled()`. All who wait at the same
moment share one commit, so that a burst of messages costs one. What nobody waits for, such as a client's
acknowledgement, shares the next commit: until then it is as if it had not arrived.

The file is in WAL mode with `synchronous=OFF`: a commit is handed to the operating system, which is cheap (tens of
microseconds) and survives the end of the process, `kill -9` included. What it does not survive is the end of the
machine: after a power cut the last seconds may be missing. A sandbox is for tests, so that is the right price.
"""

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import trio

from bridge.errors import BridgeError

Row = tuple[Any, ...]

COMMIT_WITHIN_S: Final = 0.02
"""How long what nobody waits for may stay uncommitted: a process that is killed forgets so much of it."""

_VERSION: Final = 2

_SCHEMA: Final = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;

-- A phone number with the key that its devices are signed with.
CREATE TABLE account (
    phone TEXT PRIMARY KEY, lid TEXT NOT NULL UNIQUE, name TEXT NOT NULL, identity BLOB NOT NULL,
    next_device INTEGER NOT NULL, about TEXT NOT NULL, picture TEXT, blocked TEXT NOT NULL,
    app_state_key BLOB NOT NULL
) WITHOUT ROWID;

-- A device and its public keys; number 0 is the phone itself.
CREATE TABLE device (
    phone TEXT NOT NULL, number INTEGER NOT NULL, noise BLOB, identity BLOB NOT NULL, registration BLOB NOT NULL,
    signed_id BLOB NOT NULL, signed_key BLOB NOT NULL, signature BLOB NOT NULL, provisioned INTEGER NOT NULL,
    PRIMARY KEY (phone, number)
) WITHOUT ROWID;

CREATE TABLE prekey (
    phone TEXT NOT NULL, device INTEGER NOT NULL, id BLOB NOT NULL, key BLOB NOT NULL,
    PRIMARY KEY (phone, device, id)
) WITHOUT ROWID;

-- Stanzas that a device has not acknowledged, in the order they are to reach it.
CREATE TABLE pending (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, device TEXT NOT NULL, key TEXT NOT NULL, stanza BLOB NOT NULL
);
CREATE INDEX pending_of_device ON pending (device, key);

-- What Signal keeps for a simulated phone: its private keys, sessions, sender keys (`signal/device.py`).
CREATE TABLE signal (
    phone TEXT NOT NULL, name TEXT NOT NULL, body BLOB NOT NULL, PRIMARY KEY (phone, name)
) WITHOUT ROWID;

-- What simulated phones received; `own` was sent by another device of the account.
CREATE TABLE inbox (
    cursor INTEGER PRIMARY KEY AUTOINCREMENT, phone TEXT NOT NULL, id TEXT NOT NULL, sender TEXT NOT NULL,
    chat TEXT NOT NULL, text TEXT NOT NULL, at REAL NOT NULL, body BLOB NOT NULL, own INTEGER NOT NULL,
    edited INTEGER NOT NULL DEFAULT 0, revoked INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX inbox_of_phone ON inbox (phone, cursor);
CREATE INDEX inbox_message ON inbox (phone, id);

-- What simulated phones sent, to be sent again to who could not read it.
CREATE TABLE outbox (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, phone TEXT NOT NULL, id TEXT NOT NULL, chat TEXT NOT NULL, body BLOB NOT NULL
);
CREATE INDEX outbox_message ON outbox (phone, id);

-- Receipts for what simulated phones sent.
CREATE TABLE receipt (
    cursor INTEGER PRIMARY KEY AUTOINCREMENT, phone TEXT NOT NULL, message TEXT NOT NULL, sender TEXT NOT NULL,
    chat TEXT NOT NULL, type TEXT NOT NULL, at REAL NOT NULL
);
CREATE INDEX receipt_of_phone ON receipt (phone, cursor);

-- Patches of app state, one line of versions per account and collection.
CREATE TABLE app_state (
    phone TEXT NOT NULL, collection TEXT NOT NULL, version INTEGER NOT NULL, hash BLOB NOT NULL, patch BLOB NOT NULL,
    PRIMARY KEY (phone, collection, version)
) WITHOUT ROWID;

-- Their present values, by the MAC of their index.
CREATE TABLE app_state_value (
    phone TEXT NOT NULL, collection TEXT NOT NULL, index_mac BLOB NOT NULL, mac BLOB NOT NULL, name TEXT NOT NULL,
    value BLOB NOT NULL, PRIMARY KEY (phone, collection, index_mac)
) WITHOUT ROWID;

-- What an account has set about itself, as JSON (`profiles.py`), and profile pictures.
CREATE TABLE profile (phone TEXT PRIMARY KEY, body TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE picture (id TEXT PRIMARY KEY, body BLOB NOT NULL) WITHOUT ROWID;

-- What phones had written before a client was linked.
CREATE TABLE history (
    phone TEXT NOT NULL, chat TEXT NOT NULL, id TEXT NOT NULL, author TEXT NOT NULL, text TEXT NOT NULL,
    at INTEGER NOT NULL
);
CREATE INDEX history_of_phone ON history (phone, at);

-- Newsletters with their posts, as JSON (`newsletters.py`).
CREATE TABLE newsletter (id TEXT PRIMARY KEY, body TEXT NOT NULL) WITHOUT ROWID;

CREATE TABLE chat_group (id TEXT PRIMARY KEY, body TEXT NOT NULL) WITHOUT ROWID;

-- The oracle: each message, and its copy for each device.
CREATE TABLE oracle (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL, device TEXT NOT NULL, sender TEXT NOT NULL,
    recipient TEXT NOT NULL, kind TEXT NOT NULL, text TEXT, hash TEXT, sent_at REAL NOT NULL,
    UNIQUE (id, device)
);
CREATE TABLE oracle_copy (
    message INTEGER NOT NULL, device TEXT NOT NULL, relayed_at REAL, acknowledged_at REAL,
    PRIMARY KEY (message, device)
) WITHOUT ROWID;
CREATE TABLE oracle_transfer (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, direction TEXT NOT NULL, hash TEXT NOT NULL, kind TEXT NOT NULL,
    size_bytes INTEGER NOT NULL, status INTEGER NOT NULL, at REAL NOT NULL
);
"""


class StateTooNew(BridgeError):
    """The sandbox's data were written by another version of it: choose an empty directory."""

    code = "sandbox_state_too_new"


class State:
    """The open file. Everything happens in the Trio thread: a statement takes microseconds."""

    def __init__(self, path: Path) -> None:
        """Open or create the file; raise `StateTooNew` for one of another version."""
        self.folder = path.parent
        self._db = sqlite3.connect(path, isolation_level=None)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=OFF")
        self._db.execute("PRAGMA cache_size=-8000")
        (version,) = self._db.execute("PRAGMA user_version").fetchone()
        if version == 0:
            self._db.executescript(f"BEGIN; {_SCHEMA} PRAGMA user_version={_VERSION}; COMMIT;")
        elif version != _VERSION:
            self._db.close()
            raise StateTooNew(f"version {version}, this is {_VERSION}")
        self._before: list[Callable[[], None]] = []
        self._changed = trio.Event()
        self._waiting: trio.Event | None = None
        self._wanted = trio.Event()
        self._open = False
        self.commits = 0

    def run(self, sql: str, *values: object) -> int:
        """Execute one statement inside the open transaction; return how many rows it changed."""
        if not self._open:
            self._begin()
        return self._db.execute(sql, values).rowcount

    def run_many(self, sql: str, rows: list[Row]) -> None:
        """Execute one statement for each of the rows."""
        if not self._open:
            self._begin()
        self._db.executemany(sql, rows)

    def insert(self, sql: str, *values: object) -> int | None:
        """Execute an INSERT and return the new row's number, None where `OR IGNORE` ignored it."""
        if not self._open:
            self._begin()
        cursor = self._db.execute(sql, values)
        return cursor.lastrowid if cursor.rowcount > 0 else None

    def rows(self, sql: str, *values: object) -> list[Row]:
        """Return all rows of a query; it sees what is not yet committed."""
        return self._db.execute(sql, values).fetchall()

    def one(self, sql: str, *values: object) -> Row | None:
        """Return the first row of a query, None if there is none."""
        row: Row | None = self._db.execute(sql, values).fetchone()
        return row

    def get(self, name: str) -> bytes | None:
        """Return a value of the sandbox itself (its keys, its port)."""
        row = self.one("SELECT value FROM meta WHERE name = ?", name)
        return None if row is None else bytes(row[0])

    def put(self, name: str, value: bytes) -> None:
        self.run("INSERT OR REPLACE INTO meta VALUES (?, ?)", name, value)

    def before_commit(self, write: Callable[[], None]) -> None:
        """Have `write` called before each commit: it writes what changes too often to be written each time."""
        self._before.append(write)

    def touch(self) -> None:
        """Say that there is something for `before_commit` to write."""
        if not self._open:
            self._begin()

    async def settled(self) -> None:
        """Return when everything that was changed until now is committed."""
        if not self._open:
            return
        if self._waiting is None:
            self._waiting = trio.Event()
            self._wanted.set()
        await self._waiting.wait()

    async def commit_always(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Commit what was changed, until cancelled: soon, and at once when somebody waits for it.

        One pass of Trio's loop shares a commit.
        """
        task_status.started()
        try:
            while True:
                await self._changed.wait()
                with trio.move_on_after(COMMIT_WITHIN_S):
                    await self._wanted.wait()
                await trio.lowlevel.checkpoint()
                self.commit()
        finally:
            self.commit()

    def commit(self) -> None:
        """Commit now and wake those who wait for it."""
        if not self._open:
            return
        for write in self._before:
            write()
        self._db.execute("COMMIT")
        self._open = False
        self.commits += 1
        self._changed = trio.Event()
        if self._waiting is not None:
            self._waiting.set()
            self._waiting = None
            self._wanted = trio.Event()

    def close(self) -> None:
        """Commit and close the file; may be called twice."""
        self.commit()
        self._db.close()

    def _begin(self) -> None:
        self._db.execute("BEGIN")
        self._open = True
        self._changed.set()
