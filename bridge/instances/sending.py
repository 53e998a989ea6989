"""One send, from the engine's answer to the committed outcome.

The command's row says running before the engine is asked, so a crash in between leaves a row that the next start calls
unknown. What is known is stored, together with its event, before the caller hears it.
"""

import time
from collections.abc import Callable

import structlog

from bridge.engine.compose import text_message
from bridge.engine.errors import EngineError
from bridge.engine.session import Session as EngineSession
from bridge.errors import BridgeError
from bridge.instances import announce
from bridge.instances.errors import NotConnected, SendFailed, SendUnknown
from bridge.instances.inbox import Inbox
from bridge.instances.outbox import OutgoingText, SentText
from bridge.store.store import Store

log = structlog.get_logger()


class Sender:
    """Sends the texts of one actor over whatever session is open."""

    def __init__(
        self, store: Store, inbox: Inbox, engine: Callable[[], EngineSession | None], *, timeout_s: float
    ) -> None:
        self._store = store
        self._inbox = inbox
        self._engine = engine
        self._timeout_s = timeout_s

    async def send(self, text: OutgoingText) -> None:
        """Send one text, store the outcome, answer its caller. Only a store that fails makes this raise."""
        outcome = await self._ask(text)
        if isinstance(outcome, SentText):
            event = announce.text_sent(
                text.command,
                to=text.to,
                sender=self._inbox.view.jid or "",
                message_id=outcome.message_id,
                text=text.text,
                at=outcome.at,
            )
        else:
            status = "failed" if outcome.certain else "unknown"
            log.warning("message.not_sent", command=text.command, status=status, code=outcome.code)
            event = announce.text_not_sent(text.command, to=text.to, status=status, error=str(outcome), at=time.time())
        await self._inbox.emit([event])
        text.reply.set(outcome)

    async def _ask(self, text: OutgoingText) -> SentText | BridgeError:
        session = self._engine()
        if session is None:
            return NotConnected()
        message = await self._compose(text)
        if text.queued:  # from here on a crash leaves its outcome unknown
            await self._store.commands.start(text.command, self._inbox.node, self._inbox.epoch)
        try:
            sent = await session.send(text.to, message, self._timeout_s)
        except EngineError as error:
            return SendFailed(str(error)) if error.certain else SendUnknown()
        return SentText(sent.message_id, sent.at)

    async def _compose(self, text: OutgoingText) -> bytes:
        if text.reply_to is None:
            return text_message(text.text)
        quoted = await self._store.messages.find(self._inbox.view.key, text.reply_to)
        return text_message(
            text.text,
            reply_to=text.reply_to,
            reply_sender=quoted.sender if quoted else None,
            reply_text=quoted.text if quoted else None,
        )
