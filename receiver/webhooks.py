"""Takes webhooks in: verified, given to the store, answered when they are committed."""

import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

import structlog
import trio

from receiver import envelope
from receiver.errors import RequestError
from receiver.http import Request, Response
from receiver.metrics import Metrics
from receiver.store import Store
from receiver.verify import META_HEADER, Secret, Verified, verify, verify_meta
from receiver.writer import Incoming

log = structlog.get_logger()

_LOG_EVERY_S = 1.0
_STORED = Response(200, b'{"status":"stored"}')
_DUPLICATE = Response(200, b'{"status":"duplicate"}')


@dataclass(frozen=True, slots=True)
class Keys:
    """What webhooks are signed with: Standard Webhooks' secrets and, where configured, Meta's."""

    standard: tuple[Secret, ...] = field(default=(), repr=False)
    meta: tuple[bytes, ...] = field(default=(), repr=False)

    def verify(self, headers: Mapping[bytes, bytes], body: bytes, now_s: float) -> Verified:
        """Return who sent what when; raise `Unverified`.

        Meta's form counts for a webhook that does not come in the standard form, and only where a secret for it is
        configured.
        """
        if self.meta and META_HEADER in headers and b"webhook-signature" not in headers:
            return verify_meta(self.meta, headers, body)
        return verify(self.standard, headers, body, now_s)


class Webhooks:
    """The route that takes webhooks, and the counts of those it refused."""

    def __init__(self, store: Store, keys: Keys, metrics: Metrics) -> None:
        self._store = store
        self._keys = keys
        self._metrics = metrics
        self.refused: Counter[str] = Counter()
        self._last_log_at = float("-inf")

    async def take(self, request: Request) -> Response:
        """Return 200 once it is committed, now or before; raise `RequestError`."""
        now_s = time.time()
        try:
            verified = self._keys.verify(request.headers, request.body, now_s)
            index = envelope.index(request.body)
        except RequestError as error:
            self._note_refusal(error)
            raise
        attempt = _attempt(request.headers.get(b"x-webhook-attempt", b""))
        is_new = await self._store.store(Incoming(verified.webhook_id, attempt, index, request.body))
        if not is_new:
            return _DUPLICATE
        self._metrics.stored(None if index.received_at_s is None else time.time() - index.received_at_s)
        return _STORED

    def _note_refusal(self, error: RequestError) -> None:
        """Count it, and log one line a second at most: whoever knows our port can cause these."""
        self.refused[error.code] += 1
        if trio.current_time() - self._last_log_at >= _LOG_EVERY_S:
            self._last_log_at = trio.current_time()
            log.warning("webhook.refused", code=error.code, refused=dict(self.refused))


def _attempt(header: bytes) -> int | None:
    return int(header) if header.isdigit() and len(header) < 10 else None
