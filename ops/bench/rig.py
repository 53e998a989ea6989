"""What both candidates run on: a PostgreSQL of the bench's own, with the settings of the embedded one (fsync on)."""

import os
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import psycopg
import trio

from bridge.engine.urls import APPLICATION
from bridge.store import embedded
from ops.bench.machine import Groups, Meter, tree

_CLIENTS = "select pid, application_name from pg_stat_activity where backend_type = 'client backend' and pid <> %s"
_COMMITS = "select xact_commit from pg_stat_database where datname = current_database()"
QUIET_TIMEOUT_S = 30.0


@dataclass(slots=True)
class Rig:
    """A running PostgreSQL and a folder for everything."""

    folder: Path
    postgres: embedded.Embedded
    database: psycopg.Connection

    @property
    def dsn(self) -> str:
        return self.postgres.dsn

    def clients(self) -> dict[int, str]:
        """Return whom each backend of PostgreSQL serves: engine, bridge, receiver."""
        rows = self.database.execute(_CLIENTS, [self.database.info.backend_pid]).fetchall()
        return {pid: "engine" if name == APPLICATION else name.partition(" ")[0] for pid, name in rows}

    def meter(self, find: Callable[[], Groups]) -> Meter:
        """Return a meter of the candidate's groups and of PostgreSQL."""
        return Meter(lambda: {**find(), "postgres": self._postgres()}, self.clients, self.commits)

    def _postgres(self) -> list[psutil.Process]:
        return [process for process in tree(self.postgres.pid) if process.pid != self.database.info.backend_pid]

    def commits(self) -> int:
        """Return how many transactions PostgreSQL has committed; it counts with a delay of up to a second."""
        found = self.database.execute(_COMMITS).fetchone()
        return int(found[0]) if found else 0

    async def until_engines_idle(self) -> None:
        """Wait until no engine holds a database connection, half a minute at the longest."""
        with trio.move_on_after(QUIET_TIMEOUT_S):
            while "engine" in self.clients().values():  # noqa: ASYNC110 - PostgreSQL tells nobody
                await trio.sleep(0.2)

    def environment(self, **more: str) -> dict[str, str]:
        """Return our environment without settings of another bridge or receiver."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("BRIDGE_", "RECEIVER_"))}
        return {**kept, **more}


@asynccontextmanager
async def running_rig(settings: Mapping[str, str] | None = None) -> AsyncIterator[Rig]:
    """Run PostgreSQL in a folder that is removed afterwards; `settings` are added to those of the embedded one."""
    with tempfile.TemporaryDirectory(prefix="bridge-bench-") as name:
        folder = Path(name)
        folder.chmod(0o711)  # noqa: ASYNC240 - microseconds; for root, PostgreSQL runs as somebody else and must get through
        postgres = embedded.start(folder / "postgres", settings=settings)
        try:
            with psycopg.connect(postgres.dsn, autocommit=True, application_name="bench") as database:
                yield Rig(folder, postgres, database)
        finally:
            embedded.stop(postgres)
