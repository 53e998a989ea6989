"""What an instance sends: it waits for its time, for its turn if there is pacing, and for the engine."""

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict

import structlog
import trio

from bridge.domain.ids import CommandId
from bridge.domain.pacing import Profile, Restriction, Turn
from bridge.domain.session import Session
from bridge.engine.people import LID_SERVER, PHONE_SERVER
from bridge.engine.session import Session as EngineSession
from bridge.errors import BridgeError
from bridge.instances import announce
from bridge.instances.errors import SendFailed
from bridge.instances.inbox import Inbox
from bridge.instances.leaving import not_online
from bridge.instances.outbox import Outbox, Outgoing
from bridge.instances.pacing import Pacer
from bridge.instances.parts import Parts
from bridge.instances.recovery import restriction_of, settle_commands
from bridge.instances.sending import Sender
from bridge.instances.waiting import Waiting
from bridge.store.rows import InstanceRow
from supervisor import Failed

log = structlog.get_logger()


class Sends:
    """The sends of one actor; one per start of it."""

    def __init__(
        self,
        parts: Parts,
        row: InstanceRow,
        inbox: Inbox,
        engine: Callable[[], EngineSession | None],
        forget: Callable[[str], None],
    ) -> None:
        self._parts = parts
        self._store = parts.store
        self._inbox = inbox
        self._engine = engine
        self._forget = forget
        self._row = row
        self._sender = Sender(
            self._store,
            inbox,
            engine,
            timeout_s=parts.send_timeout_s,
            attacher=parts.attacher,
            locked=self._locked,
        )
        self._outbox = Outbox(self._send, prepare=self._sender.prepare)
        self._waiting = Waiting()
        self._pacer = Pacer()
        self._profile: Profile | None = None
        self._paired_at = (row.paired_at or row.created_at).timestamp()
        self._attended = False
        self._nursery: trio.Nursery | None = None

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Send until cancelled; what an earlier owner left follows with `recover`."""
        async with trio.open_nursery() as self._nursery:
            await self._nursery.start(self._outbox.run)
            task_status.started()

    async def recover(self) -> None:
        """Settle what an earlier owner began, and take over what it did not begin."""
        await self.pace(chosen(self._row.settings), restriction_of(self._row))
        for message in await settle_commands(self._store, self._inbox):
            await self._meet(message.to)
            self._waiting.put(message, again=True)
        assert self._nursery is not None
        self._nursery.start_soon(self._waiting.watch, self._sender.send, self.release)

    async def drained(self) -> None:
        """Wait until nothing is being sent; what pacing holds is not begun any more."""
        self._pacer.stop()
        await self._outbox.drained()

    async def take(self, message: Outgoing, session: Session) -> Failed | None:
        """Send a message, when its time and its turn have come; return why it is refused."""
        if self._pacer.active:
            await self._meet(message.to)
        online = self._engine() is not None
        try:
            if message.queued and (not online or message.not_before > time.time()):
                self._waiting.put(message)
            elif not online:
                return Failed(not_online(session))
            elif self._pacer.active:
                self._pacer.admit(message)
            else:
                self._outbox.put(message)
        except BridgeError as error:
            return Failed(error)
        return None

    def release(self) -> None:
        """Send what waits for now, in order, as far as there is room."""
        if self._engine() is None:
            return
        if not self._pacer.active:
            for message in self._waiting.take_due(time.time(), self._outbox.free):
                self._outbox.put(message)
            return
        for message in self._waiting.take_due(time.time(), self._pacer.room):
            self._pacer.put(message, message.expires_at)
        self._pacer.wake()

    async def cancel(self, command: CommandId) -> bool:
        """Take a queued message back; False when it is not here, or was begun."""
        message = self._waiting.remove(command) or self._pacer.remove(command) or self._outbox.remove(command)
        if message is None:
            return False
        self._pacer.sent(message)
        await self._inbox.emit([announce.cancelled(message, at=time.time())])
        return True

    # --- pacing -------------------------------------------------------------------------------------------------------

    async def pace(self, profile: str | None, restriction: Restriction | None = None) -> None:
        """Go by this profile from now on, also with what waits; None is the one of the bridge's settings."""
        self._profile = self._parts.profiles.get(profile or self._parts.pacing_profile)
        if self._profile is not None or restriction is not None:
            await self._begin(restriction)
        self._pacer.pace(self._profile, self._paired_at)
        self._attend()

    async def check(self, chat: str) -> None:
        """Raise `Paced` or `NewChatsLimited` when a message to `chat` that is sent at once would have to wait long."""
        if self._pacer.active:
            await self._meet(chat)
            self._pacer.check(chat)

    def turns(self) -> Mapping[CommandId, Turn]:
        """Return when each message that pacing holds can go at the earliest, as things stand."""
        return self._pacer.turns() if self._pacer.active else {}

    def held(self) -> Mapping[str, int]:
        """Return how many messages pacing holds, by reason."""
        return self._pacer.counts()

    async def _meet(self, chat: str) -> None:
        """Find out whether somebody new is known under another name: WhatsApp has two for everybody."""
        if self._pacer.active and self._pacer.is_new(chat):
            user, _, server = chat.partition("@")
            lid = server == LID_SERVER
            other = await self._store.contacts.other_address(phone=None if lid else user, lid=user if lid else None)
            if other is not None:
                self._pacer.know(chat, f"{other}@{PHONE_SERVER if lid else LID_SERVER}")

    async def _begin(self, restriction: Restriction | None) -> None:
        """Read what was sent, unless it is known."""
        if not self._pacer.active:
            chats = await self._store.messages.chats(self._row.key)
            if not self._pacer.active:
                self._pacer.pace(self._profile, self._paired_at)
                self._pacer.begin(chats, restriction)

    def _attend(self) -> None:
        """See to it that somebody lets go what is held, and hears of messages."""
        self._inbox.on_events = self._pacer.noted if self._pacer.active else None
        if self._pacer.active and not self._attended:
            self._attended = True
            assert self._nursery is not None
            self._nursery.start_soon(self._pacer.run, self._put, self._sender.send)

    def _put(self, message: Outgoing) -> bool:
        if self._engine() is None or self._outbox.free <= 0:
            return False
        self._outbox.put(message)
        return True

    async def _send(self, message: Outgoing) -> None:
        if message.queued and self._engine() is None:
            self._waiting.put(message, again=True)  # it went away meanwhile: nothing was begun
            self._pacer.sent(message)
            return
        await self._sender.send(message)
        if isinstance(message.reply.outcome, SendFailed):
            self._forget(message.to)
        if self._pacer.active and self._pacer.sent(message):
            log.info("instance.new_chats_allowed", instance=self._row.key)
            await self._remember(None)
            self._attend()
        self.release()

    async def _locked(self) -> float:
        """Hold what begins a new chat, for WhatsApp refuses that; return for how many seconds."""
        await self._begin(None)
        restriction = self._pacer.locked()
        log.warning("instance.new_chats_limited", instance=self._row.key, strikes=restriction.strikes)
        await self._remember(asdict(restriction))
        self._attend()
        return self._pacer.retry_after_s

    async def _remember(self, restriction: Mapping[str, object] | None) -> None:
        inbox = self._inbox
        await self._store.instances.set_restriction(self._row.key, inbox.node, inbox.epoch, restriction)


def chosen(settings: Mapping[str, object]) -> str | None:
    """Return the pacing profile of an instance's settings, None where it has chosen none."""
    profile = settings.get("pacing_profile")
    return None if profile is None else str(profile)
