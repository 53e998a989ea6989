"""What the API asks of delivery: to judge a URL, to try an endpoint out, to let one go on that had been held."""

import time
from collections.abc import Mapping

import msgspec
import trio

from bridge.domain.ids import EndpointId, InstanceKey
from bridge.domain.lanes import Answer
from bridge.ids import new_event_id
from bridge.net.guard import Guard
from bridge.store.deliveries import Pending
from bridge.webhooks import own_headers
from bridge.webhooks.dispatcher import DeliveryStore, Dispatcher
from bridge.webhooks.envelope import VERSION, rfc3339
from bridge.webhooks.post import Poster
from bridge.webhooks.replayer import Replayer

EVERY_INSTANCE = "*"
CLOSE_S = 1.0


class Desk:
    """Between the API and the dispatcher. Tries go out over connections of their own."""

    def __init__(self, store: DeliveryStore, dispatcher: Dispatcher, replayer: Replayer, guard: Guard) -> None:
        self._store = store
        self._dispatcher = dispatcher
        self._replayer = replayer
        self._guard = guard

    async def admit(self, url: str) -> None:
        """Raise `UrlRefused` unless webhooks may go to `url`."""
        await self._guard.admit(url)

    def admit_headers(self, headers: Mapping[str, str]) -> None:
        """Raise `HeaderRefused` unless these may be set."""
        own_headers.judge(headers)

    async def test(self, id: EndpointId, instance: InstanceKey | None) -> Answer | None:
        """Post a `webhook.test` event that is stored nowhere, once; None when there is no such endpoint."""
        to = await self._store.endpoints.destination(id)
        if to is None:
            return None
        poster = Poster(self._guard)
        try:
            return await poster.post(to, _test_event(id, instance))
        finally:
            with trio.move_on_after(CLOSE_S, shield=True):
                await poster.tidy(everything=True)

    def resumed(self, id: EndpointId) -> None:
        """Forget what was held against an endpoint, and look for what waits for it."""
        self._dispatcher.forgive(id)

    def hurried(self) -> None:
        """Look for what is due now: something was made so."""
        self._dispatcher.wake()

    def replaying(self) -> None:
        """Begin with a new replay."""
        self._replayer.wake()

    def held(self) -> frozenset[EndpointId]:
        """Return the endpoints that are only probed now."""
        return frozenset(self._dispatcher.stats.held)


def _test_event(endpoint: EndpointId, instance: InstanceKey | None) -> Pending:
    now, id = time.time(), new_event_id()
    body = {
        "id": id,
        "type": "webhook.test",
        "event": "webhook_test",
        "event_type": "webhook_test",
        "version": VERSION,
        "instance": instance or EVERY_INSTANCE,
        "external_id": None,
        "metadata": {},
        "seq": 0,
        "timestamp": rfc3339(now),
        "received_at": rfc3339(now),
        "flags": {"offline": False, "history": False, "replayed": False, "from_me": False},
        "me": {"phone": None, "jid": None, "lid": None},
        "data": {"webhook_id": endpoint, "message": "This is a test; it is stored nowhere and not sent again."},
    }
    key = InstanceKey(instance or EVERY_INSTANCE)
    return Pending(id, key, 0, now, None, msgspec.json.encode(body).decode())
