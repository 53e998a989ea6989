"""`bridge serve`: the bridge alone, for containers and for a PostgreSQL of one's own."""

from functools import partial

import trio

from bridge.app import App, Running
from bridge.config import BadSetting, Settings
from bridge.process import announce, freeze_what_lasts, run_until_signalled
from bridge.sandbox_trust import show_codes, trust_of


def serve(settings: Settings, *, as_json: bool, parent_pipe: bool = False) -> int:
    """Run until SIGTERM, Ctrl-C or, with `parent_pipe`, the end of stdin; return the exit status."""
    if not settings.database_url:
        raise BadSetting("BRIDGE_DATABASE_URL must name a PostgreSQL; `bridge up` brings its own.")
    return run_until_signalled(partial(_serve, settings, as_json), parent_pipe=parent_pipe)


async def _serve(settings: Settings, as_json: bool, stop: trio.Event) -> None:
    sandbox = await trust_of(settings)
    async with trio.open_nursery() as nursery:
        app = App(settings, settings.database_url, sandbox=sandbox)
        running: Running = await nursery.start(partial(app.run, stop=stop))
        if settings.sandbox_url:
            nursery.start_soon(show_codes, app.directory.qr_codes, settings.sandbox_url, app.stopped)
        freeze_what_lasts()
        announce(
            {"api": running.url, "api_key": running.api_key, "webhook_secret": running.webhook_secret},
            as_json=as_json,
        )
