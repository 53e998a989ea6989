"""One send, from the engine's answer to the committed outcome.

The command's row says running before the engine is asked, so a crash in between leaves a row that the next start calls
unknown. Its commit does not wait for the disk where the engine's will: PostgreSQL writes its log in order, so it is
safe when the engine's session is, and only then does the message leave. What is known is stored, together with its
event, before the caller hears it.
"""

import time
from collections.abc import Awaitable, Callable

import structlog
import trio

from bridge.domain.profiles import SetChatState
from bridge.engine.answers import answer
from bridge.engine.compose import Quote
from bridge.engine.errors import EngineError, NewChatRefused
from bridge.engine.people import is_encrypted
from bridge.engine.session import Sent
from bridge.engine.session import Session as EngineSession
from bridge.errors import BridgeError
from bridge.instances import announce
from bridge.instances.attach import Attacher
from bridge.instances.errors import Expired, NewChatsLimited, NotConnected, SendFailed, SendUnknown
from bridge.instances.inbox import Inbox
from bridge.instances.kinds import KINDS
from bridge.instances.outbox import Outgoing
from bridge.meters import SEND_SECONDS
from bridge.store.store import Store

log = structlog.get_logger()
_SECONDS = {outcome: SEND_SECONDS.labels(outcome) for outcome in ("sent", "failed", "unknown")}


class Sender:
    """Sends the messages of one actor over whatever session is open."""

    def __init__(
        self,
        store: Store,
        inbox: Inbox,
        engine: Callable[[], EngineSession | None],
        *,
        timeout_s: float,
        attacher: Attacher | None = None,
        locked: Callable[[], Awaitable[float]] | None = None,
    ) -> None:
        """Make one; `locked` is told when WhatsApp refuses a new chat, and says for how many seconds none is tried."""
        self._store = store
        self._inbox = inbox
        self._engine = engine
        self._timeout_s = timeout_s
        self._attacher = attacher
        self._locked = locked

    async def send(self, message: Outgoing) -> None:
        """Send one message, store the outcome, answer its caller. Only a store that fails makes this raise."""
        asked_at = trio.current_time()
        outcome = await self._ask(message)
        _measure(outcome, trio.current_time() - asked_at)
        metadata = message.body.get("metadata")
        if isinstance(outcome, Sent):
            event = announce.sent(
                message.command,
                kind=message.kind,
                to=message.to,
                sender=self._inbox.view.jid or "",
                message_id=outcome.message_id,
                text=KINDS[message.kind].text(message.body),
                has_row=KINDS[message.kind].has_row,
                at=outcome.at,
                metadata=metadata,
            )
        else:
            status = "failed" if outcome.certain else "unknown"
            log.warning("message.not_sent", command=message.command, status=status, code=outcome.code)
            event = announce.not_sent(
                message.command,
                to=message.to,
                status=status,
                error=str(outcome),
                code=outcome.code,
                at=time.time(),
                metadata=metadata,
            )
        await self._inbox.emit([event])
        message.reply.set(outcome)

    async def prepare(self, message: Outgoing) -> None:
        """Wait as long as the message asks for before it is sent, and show that we type, if it asks for that."""
        delay_s = message.body.get("delay_s")
        if not delay_s:
            return
        session = self._engine()
        if message.body.get("typing") and session is not None:
            try:
                await answer(session, SetChatState(message.to, "typing"), self._timeout_s)
            except EngineError as error:
                log.info("message.typing_not_shown", command=message.command, code=error.code)
        await trio.sleep(float(str(delay_s)))

    async def _ask(self, message: Outgoing) -> Sent | BridgeError:
        if message.expires_at < time.time():
            return Expired()
        session = self._engine()
        if session is None:
            return NotConnected()
        quote = await self._quote(message)
        if message.queued:  # from here on a crash leaves its outcome unknown
            await self._store.commands.start(
                message.command, self._inbox.node, self._inbox.epoch, durable=not is_encrypted(message.to)
            )
        try:
            deliver = KINDS[message.kind].deliver
            if deliver is not None:
                return await deliver(session, message, quote, self._timeout_s)
            assert self._attacher is not None
            return await self._attacher.deliver(self._inbox.view.key, session, message, quote, self._timeout_s)
        except NewChatRefused as error:
            retry_after_s = await self._locked() if self._locked is not None else 60.0
            return NewChatsLimited(str(error).partition(":")[2].strip(), retry_after_s=round(retry_after_s, 1))
        except EngineError as error:
            return SendFailed(str(error)) if error.certain else SendUnknown()

    async def _quote(self, message: Outgoing) -> Quote | None:
        reply_to = message.body.get("reply_to")
        if reply_to is None:
            return None
        quoted = await self._store.messages.find(self._inbox.view.key, str(reply_to))
        return Quote(str(reply_to), quoted.sender if quoted else None, quoted.text if quoted else None)


def _measure(outcome: object, taken_s: float) -> None:
    known = "sent" if isinstance(outcome, Sent) else "failed" if getattr(outcome, "certain", True) else "unknown"
    _SECONDS[known].observe(taken_s)
