"""Puts the bridge together: the parts, the process tree around them, and the probes that tell how they are.

The tree is the one in docs/architecture.md: root (rest_for_one) over store, engines, instances, webhooks, janitor and
http.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import partial
from urllib.parse import urlsplit

import structlog
import trio

from bridge import meters
from bridge.api.app import create_app
from bridge.api.context import ApiContext, Limits
from bridge.api.server import HttpServer
from bridge.config import Settings
from bridge.domain.ids import EndpointId
from bridge.engine.downloader.pool import Downloader
from bridge.engine.pool import EngineConfig, EnginePool
from bridge.engine.wire import SandboxTrust
from bridge.errors import BridgeError
from bridge.ids import new_key_id, new_node_id
from bridge.instances.attach import Attacher
from bridge.instances.directory import Directory
from bridge.instances.engine_notes import NoteTeller
from bridge.instances.files import InstanceFiles
from bridge.instances.numbers import Numbers
from bridge.instances.parts import Parts
from bridge.janitor import Janitor
from bridge.keyform import hint, make_key
from bridge.media.bucket import Bucket
from bridge.media.downloads import Downloads
from bridge.media.incoming import Incoming
from bridge.media.library import Keeping
from bridge.media.links import new_secret
from bridge.media.service import SIGNING, MediaConfig, MediaService
from bridge.net.guard import Guard
from bridge.probe import watch_loop
from bridge.sandbox_trust import keep_apart
from bridge.scrape import Scrape
from bridge.store.rows import NewKey
from bridge.store.store import Store
from bridge.vault import open_vault
from bridge.webhooks import sign
from bridge.webhooks.desk import Desk
from bridge.webhooks.dispatcher import Dispatcher
from bridge.webhooks.post import Poster
from bridge.webhooks.replayer import Replayer
from supervisor import INFINITY, ChildSpec, Intensity, Snapshot, Strategy, Supervisor

log = structlog.get_logger()

DRAIN_NOTICE_S = 0.5
"""How long /readyz says no before the listener closes, so that a balancer can notice."""
DEFAULT_ENDPOINT = EndpointId("whk_default")
OWN_CONNECTIONS = 50
"""Of PostgreSQL's connections: our pool, the receiver's, and what a person needs to look at it."""
GIVEN_KEY = "from the environment"


class StopTookTooLong(BridgeError):
    """The bridge did not stop in time and was cut off; nothing that was stored is lost."""

    code = "stop_took_too_long"


@dataclass(frozen=True, slots=True)
class Running:
    """Where a bridge that is up can be reached."""

    url: str
    api_key: str | None
    """The key, when it was made just now: it is shown this once, and stored as a hash."""
    webhook_secret: str | None
    """The secret of the default endpoint, when it was made just now."""


class App:
    """One bridge. It reads the settings once and runs once."""

    def __init__(self, settings: Settings, database_url: str, *, sandbox: SandboxTrust | None = None) -> None:
        self._settings = settings
        self._sandbox = sandbox
        self.node = new_node_id()
        vault = open_vault(settings.main_key, settings.old_main_keys, settings.data_dir / "main-key")
        self.store = Store(database_url, vault=vault)
        self.engines = EnginePool(
            EngineConfig(
                database_url=database_url,
                journal_dir=settings.data_dir / "journal",
                log_dir=settings.data_dir / "log",
                sessions_per_host=settings.sessions_per_host,
                history=settings.history,
                idle_session_timeout_ms=round(settings.engine_idle_s * 1000),
                sandbox=sandbox,
            )
        )
        self.media = MediaService(self.store.media, media_config(settings), self._base_url)
        incoming = Incoming(self.media.library, self.media.showing)
        parts = Parts(
            self.store,
            self.engines,
            self.node,
            settings.send_timeout_s,
            settings.self_check_s,
            attacher=Attacher(self.media.library),
            incoming=incoming,
            pacing_profile=settings.pacing_profile,
        )
        self.directory = Directory(parts)
        guard = Guard(settings.webhook_allow)
        self.dispatcher = Dispatcher(self.store, node=self.node, poster=Poster(guard))
        self.downloader = Downloader(sandbox)
        files = InstanceFiles(self.directory, self.downloader)
        self.downloads = Downloads(self.media.library, self.media.showing, files)
        notes = NoteTeller(self.store.engine_notes, Numbers(self.store.contacts.numbers), files.emit)
        self.media.on_again = incoming.on_expected = self.downloads.wake
        self.store.events.on_commit(self.dispatcher.wake)
        self.replayer = Replayer(self.store, wake=self.dispatcher.wake)
        self._stopping = trio.Event()
        self.janitor = Janitor(
            self.store,
            audit_s=settings.audit_days * 86_400,
            events_s=settings.event_days * 86_400,
            messages_s=settings.message_days * 86_400,
            media=self.media.library,
        )
        context = ApiContext(
            store=self.store,
            directory=self.directory,
            probes=self,
            node=self.node,
            webhooks=Desk(self.store, self.dispatcher, self.replayer, guard),
            auth_on=settings.auth,
            limits=Limits(rate_per_s=settings.rate_per_s, media_bytes=settings.media_max_bytes),
            media=self.media,
            trusted_proxies=settings.trusted_proxies,
            audit=settings.audit,
            metrics=settings.metrics,
            stopping=self._stopping,
        )
        self.http = HttpServer(create_app(context), host=settings.host, port=settings.port)
        self._new_key: str | None = None
        self._new_secret: str | None = None
        self._draining = False
        self._started = False
        self._overran = False
        self.stopped = trio.Event()
        self.scrape = Scrape(self.store, self.dispatcher, self.http, tree=self.tree, ready=lambda: self.ready()[0])
        self.root = Supervisor(
            "root",
            [
                ChildSpec("store", self.store.run, shutdown_s=5),
                ChildSpec("engines", self._run_engines, shutdown_s=INFINITY, inspect=self.engines.snapshot),
                ChildSpec("media", self._run_media),
                ChildSpec(
                    "instances",
                    self.directory.run,
                    shutdown_s=INFINITY,
                    start_timeout_s=300,
                    inspect=self.directory.snapshot,
                ),
                ChildSpec("notes", notes.run),
                ChildSpec("webhooks", self.dispatcher.run, inspect=lambda: asdict(self.dispatcher.stats)),
                ChildSpec("replays", self.replayer.run),
                ChildSpec("downloader", self.downloader.run, inspect=self.downloader.detail),
                ChildSpec("downloads", self.downloads.run, inspect=self.downloads.detail),
                ChildSpec("janitor", self.janitor.run),
                ChildSpec("http", self._serve, shutdown_s=8, inspect=self.http.detail),
                ChildSpec("probe", watch_loop),
            ],
            on_change=meters.counting("root"),
            strategy=Strategy.REST_FOR_ONE,
            intensity=Intensity(max_restarts=10, period_s=60),
        )

    # --- probes -------------------------------------------------------------------------------------------------------

    def live(self) -> bool:
        """Whether the event loop turns: it does when somebody can ask."""
        return True

    def started(self) -> bool:
        """Whether the start is complete."""
        return self._started

    def ready(self) -> tuple[bool, Mapping[str, object]]:
        """Whether calls can be served, and by part why not. What state the numbers are in does not matter."""
        parts = {"store": self.store.healthy, "started": self._started, "draining": self._draining}
        return self.store.healthy and self._started and not self._draining, parts

    def tree(self) -> Snapshot:
        """Return the process tree."""
        return self.root.snapshot()

    async def metrics(self) -> bytes:
        """Return what Prometheus is told."""
        return await self.scrape.text()

    # --- life ---------------------------------------------------------------------------------------------------------

    async def run(self, *, stop: trio.Event, task_status: trio.TaskStatus[Running]) -> None:
        """Run until `stop`; readiness ends first, then the children stop in reverse order."""
        halt, halted = trio.Event(), trio.Event()
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._drain, stop, halt, halted, nursery.cancel_scope)
                async with trio.open_nursery() as tree:
                    await tree.start(partial(self.root.run, stop=halt))
                    self._started = True
                    log.info("bridge.started", node=self.node, url=self.http.url)
                    task_status.started(Running(self.http.url, self._new_key, self._new_secret))
                halted.set()
        finally:
            self.stopped.set()
        if self._overran:
            raise StopTookTooLong(f"{self._settings.shutdown_s:.0f} s were given.")
        log.info("bridge.stopped", node=self.node)

    async def _drain(self, stop: trio.Event, halt: trio.Event, halted: trio.Event, scope: trio.CancelScope) -> None:
        """Say that we are going, go, and give up on whoever does not: the whole of it takes a bounded time."""
        await stop.wait()
        log.info("bridge.draining", node=self.node)
        self._draining = True
        self._stopping.set()
        await trio.sleep(DRAIN_NOTICE_S)
        halt.set()
        with trio.move_on_after(self._settings.shutdown_s):
            await halted.wait()
            return
        log.error("bridge.stop_took_too_long", seconds=self._settings.shutdown_s)
        self._overran = True
        scope.cancel()

    async def _run_engines(self, *, stop: trio.Event, task_status: trio.TaskStatus[EnginePool]) -> None:  # noqa: ASYNC128
        """Give the engines what PostgreSQL allows beyond our own connections, and run them."""
        await keep_apart(self.store, self._sandbox)
        limit = await self.store.connection_limit()
        self.engines.limit_connections(max(limit - OWN_CONNECTIONS, 2))
        await self.engines.run(stop=stop, task_status=task_status)

    async def _run_media(self, *, stop: trio.Event, task_status: trio.TaskStatus[None]) -> None:  # noqa: ASYNC128
        """Make media ready before any instance runs: its events carry signed links, to where we will listen."""
        self.http.reserve()
        self.media.begin(await self.store.settings.put_if_absent(SIGNING, new_secret()))
        task_status.started()
        await stop.wait()

    def _base_url(self) -> str:
        return base_url(self._settings.public_url, self.http.url)

    async def _serve(self, *, stop: trio.Event, task_status: trio.TaskStatus[object]) -> None:  # noqa: ASYNC128
        await self._make_key()
        await self._make_endpoint()
        await self.http.run(stop=stop, task_status=task_status)

    async def _make_key(self) -> None:
        """See to it that there is a key: the one given from outside instead of earlier such, or at first a new one."""
        if self._settings.api_key:
            await self._replace_given_key(self._settings.api_key)
        elif await self.store.keys.count() == 0:
            self._new_key = make_key()
            await self.store.keys.add(
                NewKey(new_key_id(), "first", "admin", _digest(self._new_key), hint=hint(self._new_key))
            )

    async def _replace_given_key(self, key: str) -> None:
        given = await self.store.keys.find(_digest(key))
        if given is None:
            new = NewKey(new_key_id(), GIVEN_KEY, "admin", _digest(key), hint=hint(key))
            given = await self.store.keys.add(new)
            assert given is not None  # its id is new
        await self.store.keys.delete_others(GIVEN_KEY, given.id)

    async def _make_endpoint(self) -> None:
        """Point the default endpoint at the URL from the settings, with their secret or one that is made once."""
        if not self._settings.webhook_url:
            return
        secret = self._settings.webhook_secret
        if not secret:
            kept, made = await self.store.settings.secret("default_endpoint_secret", _make_secret)
            secret = kept.decode()
            self._new_secret = secret if made else None
        await self.store.endpoints.upsert(DEFAULT_ENDPOINT, None, self._settings.webhook_url, (), sign.read(secret))


def base_url(public_url: str, listens_at: str) -> str:
    """Return where others reach this bridge; a port 0 in `public_url` stands for the one that it has got."""
    if not public_url:
        return listens_at
    parts = urlsplit(public_url)
    if parts.port == 0:
        parts = parts._replace(netloc=parts.netloc.removesuffix("0") + str(urlsplit(listens_at).port))
    return parts.geturl().rstrip("/")


def _make_secret() -> bytes:
    return sign.show(sign.new_secret()).encode()


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()


def media_config(settings: Settings) -> MediaConfig:
    """Return what the settings say about media."""
    bucket = None
    if settings.media_store:
        bucket = Bucket(
            settings.media_store,
            settings.media_s3_endpoint,
            settings.media_s3_region,
            settings.media_s3_access_key,
            settings.media_s3_secret_key,
        )
    return MediaConfig(
        folder=settings.data_dir / "media",
        keeping=Keeping(settings.media_max_bytes, settings.media_days),
        bucket=bucket,
        fetch_s=settings.media_fetch_s,
        allow=settings.media_allow,
        open=settings.media_open,
    )
