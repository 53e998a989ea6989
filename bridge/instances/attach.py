"""Sends a message with a file: lends the file, has the engine upload it, and sends what names it."""

import time
from dataclasses import dataclass

from bridge.domain.ids import InstanceKey
from bridge.engine.attachments import attachment
from bridge.engine.compose import Quote, context
from bridge.engine.errors import EngineError, EngineRefused, OutcomeUnknown
from bridge.engine.session import Sent, Session
from bridge.engine.transfer import upload
from bridge.errors import BridgeError
from bridge.instances.outbox import Outgoing
from bridge.media.library import Library


@dataclass(frozen=True, slots=True)
class Attacher:
    """Sends messages with files of the library."""

    library: Library

    async def deliver(
        self, key: InstanceKey, session: Session, message: Outgoing, quote: Quote | None, timeout_s: float
    ) -> Sent:
        """Send a message whose body names a file by `media_id`; raise `EngineError`.

        Until the file is uploaded no message exists, so that a failure up to there is certain, whatever it was.
        """
        try:
            row = await self.library.find(key, str(message.body["media_id"]))
            async with self.library.borrow(row) as path:
                uploaded = await upload(session, path, row.kind)
        except OutcomeUnknown as error:
            raise EngineError(str(error)) from error
        except EngineError:
            raise
        except BridgeError as error:
            raise EngineRefused(str(error)) from error
        body = {**message.body, "mime_type": row.mime_type, "filename": row.filename, "facts": row.facts}
        content = attachment(row.kind, body, uploaded, context(message.body, quote), time.time())
        return await session.send(message.to, content, timeout_s)
