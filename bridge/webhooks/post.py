"""One attempt: connects under the guard, posts, and reports how it ended. Nothing that a receiver does raises."""

import os
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from email.utils import parsedate_to_datetime

import certifi
import trio

from bridge.domain.lanes import SHOWN_BYTES, Answer
from bridge.net.guard import Guard, Target, UrlRefused
from bridge.store.deliveries import Destination, Pending
from bridge.store.sealed import Headers as OwnHeaders
from bridge.webhooks.link import Headers, Link, NotHttp, Reply, Stale
from bridge.webhooks.sign import sign

USER_AGENT = "whatsapp-bridge/1"
IDLE_MAX_S = 30.0
"""A kept connection is closed after this long without a POST."""
SITES_MAX = 1_000
SHOWN_CHARS = 200
"""Of a refusing answer's body, in the delivery's error."""

_LOST = (OSError, trio.BrokenResourceError, trio.ClosedResourceError, NotHttp)


@dataclass(slots=True)
class _Site:
    """What is known of an endpoint's URL, and the connections that are kept to it, the last used one last."""

    url: str
    own: OwnHeaders
    target: Target
    headers: Headers
    path: bytes
    idle: list[tuple[Link, float]] = field(default_factory=list)


class Poster:
    """Posts deliveries. One for the process: it keeps connections, per endpoint, so that none waits for another's."""

    def __init__(self, guard: Guard, *, tls: Callable[[], ssl.SSLContext] | None = None) -> None:
        self._guard = guard
        self._make_tls = tls or _verifying
        self._tls: ssl.SSLContext | None = None
        self._sites: dict[str, _Site] = {}

    async def post(self, to: Destination, delivery: Pending) -> Answer:
        """Make one attempt within the endpoint's timeout, from the look-up of its name to the head of the answer."""
        if not to.keys:  # nothing goes out unsigned
            return Answer(None, "its secret cannot be read; give the main key back, or rotate the secret")
        began = trio.current_time()
        answer = await self._attempt(to, delivery)
        return replace(answer, duration_ms=round((trio.current_time() - began) * 1000))

    async def _attempt(self, to: Destination, delivery: Pending) -> Answer:
        link: Link | None = None
        try:
            with trio.move_on_after(to.timeout_s):
                site = await self._site(to)
                body = delivery.body.encode()
                headers = _headers(site, to, delivery, body)
                link = await self._link(site, kept=True)
                try:
                    reply = await link.post(site.path, headers, body)
                except Stale:
                    await link.close()
                    link = await self._link(site, kept=False)
                    reply = await link.post(site.path, headers, body)
                if link.reusable and self._sites.get(to.id) is site:
                    site.idle.append((link, trio.current_time()))
                    link = None
                return _answer(reply)
            # The head of an answer is an answer, however slowly its body follows.
            if link is not None and link.reply is not None:
                return _answer(link.reply)
            return Answer(None, f"no answer in {to.timeout_s:g} s", timed_out=True)
        except UrlRefused as refused:
            return Answer(None, str(refused))
        except _LOST as lost:
            return Answer(None, _explain(lost))
        finally:
            if link is not None:
                with trio.CancelScope(shield=True):  # a forceful close does not wait
                    await link.close()

    async def tidy(self, *, everything: bool = False) -> None:
        """Close connections that were idle for too long, or all of them."""
        before = trio.current_time() - IDLE_MAX_S
        for site in self._sites.values():
            keep = [] if everything else [kept for kept in site.idle if kept[1] > before]
            done, site.idle = [link for link, since in site.idle if (link, since) not in keep], keep
            for link in done:
                await link.close()

    async def _site(self, to: Destination) -> _Site:
        site = self._sites.get(to.id)
        if site is not None and site.url == to.url and site.own == to.headers:
            return site
        target = self._guard.judge(to.url)
        headers: Headers = [
            (b"host", target.authority.encode()),
            (b"user-agent", USER_AGENT.encode()),
            (b"content-type", b"application/json"),
            *((name.encode(), value.encode()) for name, value in to.headers),
        ]
        old, new = site, _Site(to.url, to.headers, target, headers, target.path.encode())
        if len(self._sites) >= SITES_MAX:
            old = self._sites.pop(next(iter(self._sites)))
        self._sites[to.id] = new
        for link, _ in old.idle if old is not None else ():
            await link.close()
        return new

    async def _link(self, site: _Site, *, kept: bool) -> Link:
        if kept and site.idle:
            return site.idle.pop()[0]
        target = site.target
        addresses = await self._guard.addresses(target)
        return await Link.connect(addresses, target.port, tls=self._context(target), host=target.host)

    def _context(self, target: Target) -> ssl.SSLContext | None:
        if target.scheme != "https":
            return None
        if self._tls is None:
            self._tls = self._make_tls()
        return self._tls


def _headers(site: _Site, to: Destination, delivery: Pending, body: bytes) -> Headers:
    now = int(time.time())
    return [
        *site.headers,
        (b"content-length", b"%d" % len(body)),
        (b"webhook-id", delivery.event_id.encode()),
        (b"webhook-timestamp", b"%d" % now),
        (b"webhook-signature", sign(to.keys, delivery.event_id, now, body).encode()),
        (b"x-webhook-attempt", b"%d" % (delivery.attempts + 1)),
        (b"x-instance-key", delivery.instance_key.encode()),
        *([] if delivery.replay is None else [(b"x-webhook-replay", delivery.replay.encode())]),
    ]


def _answer(reply: Reply) -> Answer:
    body = reply.body[:SHOWN_BYTES].decode("utf-8", "replace") or None
    if 200 <= reply.status < 300:
        return Answer(reply.status, body=body)
    shown = (body or "")[:SHOWN_CHARS].strip()
    error = f"HTTP {reply.status}" + (f": {shown}" if shown else "")
    asked = retry_after_s(reply.header(b"retry-after"), time.time())
    return Answer(reply.status, error, retry_after_s=asked, body=body)


def retry_after_s(value: str | None, now: float) -> float | None:
    """Read `Retry-After`, seconds or a date; None when there is none that makes sense."""
    if value is None:
        return None
    if value.isascii() and value.isdigit():
        return float(value[:9])
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - now)
    except (ValueError, OverflowError, TypeError):
        return None


def _explain(error: BaseException) -> str:
    """Return what a person needs to know of a failed connection: the first cause that says it."""
    cause: BaseException | None = error
    while cause is not None:
        match cause:
            case ssl.SSLCertVerificationError():
                return f"TLS: {cause.verify_message}"
            case ssl.SSLError():
                return f"TLS: {cause.reason}"
            case OSError(errno=int(number)):
                return os.strerror(number)
            case BaseExceptionGroup(exceptions=(first, *_)):
                cause = first
            case _:
                cause = cause.__cause__
    return str(error) or type(error).__name__


def _verifying() -> ssl.SSLContext:
    """Return a context that trusts the system's certificates and, for images that have none, certifi's."""
    context = ssl.create_default_context()
    context.load_verify_locations(certifi.where())
    context.set_alpn_protocols(["http/1.1"])
    return context
