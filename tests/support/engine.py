"""An engine with real neonize hosts, a sandbox for WhatsApp and a database: what the engine's tests run on."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import trio

from bridge.engine import jids
from bridge.engine.codes import Code
from bridge.engine.journal import Record
from bridge.engine.pool import EngineConfig, EnginePool
from bridge.engine.session import Session
from bridge.engine.wire import SandboxTrust
from bridge.ids import new_instance_key
from bridge.protos import e2e, neonize_pb
from bridge.sandbox.client import PhoneInfo, SandboxClient
from tests.support.sandbox import SandboxProcess, running_sandbox

SOON_S = 30.0


@dataclass(frozen=True)
class Number:
    """A paired number: the instance that it belongs to, its phone, its device."""

    key: str
    phone: PhoneInfo
    jid: str


@dataclass
class Rig:
    """The running parts."""

    sandbox: SandboxProcess
    phones: SandboxClient
    config: EngineConfig
    pool: EnginePool

    async def pair(self) -> Number:
        """Make a phone, link a new instance to it, and leave the pairing host."""
        phone = await self.phones.create_phone()
        key = new_instance_key()
        session = await self.pool.pair(key)
        code = await until(session, Code.QR)
        await self.phones.scan(phone.phone, code.payload.decode())
        paired = neonize_pb.PairStatus.FromString((await until(session, Code.PAIR_STATUS)).payload)
        await until(session, Code.CONNECTED)
        await session.close()
        await settle_journal(self.pool, key)
        return Number(key, phone, jids.text(paired.ID, device=True))

    async def online(self, number: Number) -> Session:
        """Open a paired number and wait until it is logged in."""
        session = await self.pool.open(number.key, number.jid)
        await until(session, Code.CONNECTED)
        return session


async def settle_journal(pool: EnginePool, key: str) -> list[Record]:
    """Take what is left in a journal, and forget it."""
    left = await pool.drain(key)
    if left:
        await pool.clear(key, left[-1].seq)
    return left


async def until(session: Session, code: Code, where: Callable[[Record], bool] = lambda _: True) -> Record:
    """Return the session's next record of this code; what comes before it is acknowledged."""
    with trio.fail_after(SOON_S):
        async for record in session.events:
            session.ack(record.seq)
            if record.code == code and where(record):
                return record
    raise AssertionError(f"the session ended before {code.name}")


def text_of(record: Record) -> str:
    return (
        str(neonize_pb.Message.FromString(record.payload).Message.conversation) if record.code == Code.MESSAGE else ""
    )


async def until_text(session: Session, text: str) -> Record:
    return await until(session, Code.MESSAGE, lambda record: text_of(record) == text)


def text(words: str) -> bytes:
    return bytes(e2e.Message(conversation=words).SerializeToString())


@asynccontextmanager
async def running_pool(config: EngineConfig) -> AsyncIterator[EnginePool]:
    """Run a pool; stop it in good order when the test has not failed."""
    pool, stop = EnginePool(config), trio.Event()
    async with trio.open_nursery() as nursery:
        await nursery.start(partial(pool.run, stop=stop))
        yield pool
        stop.set()


@asynccontextmanager
async def running_rig(
    database_url: str,
    folder: Path,
    *,
    sessions_per_host: int = 25,
    idle_ms: int = 45_000,
    retire_after_s: float = 0.1,
) -> AsyncIterator[Rig]:
    """Run a sandbox and a pool that uses it."""
    async with running_sandbox(folder / "sandbox") as sandbox, sandbox.client() as phones:
        trust = SandboxTrust(sandbox.ready["proxy"], sandbox.ready["root_key"], sandbox.ready["ca_file"])
        config = EngineConfig(
            database_url,
            folder / "journal",
            sessions_per_host=sessions_per_host,
            sandbox=trust,
            idle_session_timeout_ms=idle_ms,
            retire_after_s=retire_after_s,
            log_dir=folder / "logs",
        )
        async with running_pool(config) as pool:
            yield Rig(sandbox, phones, config, pool)


def without_sandbox(config: EngineConfig) -> EngineConfig:
    return replace(config, sandbox=None)
