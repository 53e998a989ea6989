"""The command `receiver`: reads its settings, runs the service, tells its parent where it is."""

import argparse
import gc
import json
import os
from collections.abc import Sequence
from functools import partial

import structlog
import trio

from receiver import config, logs, service
from receiver.errors import ConfigError

log = structlog.get_logger()


def main(argv: Sequence[str] | None = None) -> int:
    """Run until told to stop. Return 0 after draining, 1 when the port is taken, 2 when a setting is wrong."""
    logs.configure()
    options = _parser().parse_args(argv)
    try:
        settings = config.build(
            os.environ,
            database_url=options.database_url,
            secrets=options.secret,
            host=options.host,
            port=options.port,
            paths=options.path,
        )
    except ConfigError as error:
        log.error("receiver.not_configured", reason=str(error))
        return 2
    announce = _print_ready if options.json else _log_ready

    def ready(url: str) -> None:
        gc.collect()
        gc.freeze()  # what is there now stays: a full collection would look at all of it, and stop everything meanwhile
        announce(url)

    try:
        trio.run(partial(service.run, settings, on_ready=ready, parent_pipe=options.parent_pipe))
    except OSError as error:
        log.error("receiver.cannot_listen", host=settings.host, port=settings.port, reason=error.strerror)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="receiver", description="Verify, de-duplicate, store and show webhooks.")
    parser.add_argument("--port", type=int, help="default 5555 (RECEIVER_PORT); 0 takes a free one")
    parser.add_argument("--host", help="address to listen on, default 127.0.0.1 (RECEIVER_HOST)")
    parser.add_argument("--database-url", help="a PostgreSQL database of its own (RECEIVER_DATABASE_URL)")
    parser.add_argument(
        "--secret",
        action="append",
        default=[],
        help="whsec_...; give it again for each secret that is valid. Other users of the machine can see it: better "
        "RECEIVER_SECRET (several separated by spaces) or RECEIVER_SECRET_FILE",
    )
    parser.add_argument(
        "--path", action="append", default=[], help="a path that takes webhooks, default / and /webhook"
    )
    parser.add_argument("--json", action="store_true", help="print one line of JSON on stdout when ready")
    parser.add_argument("--parent-pipe", action="store_true", help="end when stdin ends or the parent dies")
    return parser


def _print_ready(url: str) -> None:
    print(json.dumps({"ready": True, "url": url, "pid": os.getpid()}), flush=True)
    _log_ready(url)


def _log_ready(url: str) -> None:
    log.info("receiver.ready", url=url)
