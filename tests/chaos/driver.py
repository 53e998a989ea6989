"""The process that is killed: the real store and the real dispatcher, with events put in where the actors put them.

It stands for the bridge without its engines, which cannot produce thousands of events in a minute. What it was given
and did not confirm comes again after a kill, as from an engine's journal. Retries wait a sixtieth of their time.
"""

import argparse
import sys
import time
from functools import partial

import trio

from bridge import logs
from bridge.domain import schedule
from bridge.domain.ids import InstanceKey
from bridge.ids import new_node_id
from bridge.net.guard import Guard
from bridge.store.errors import StoreUnavailable
from bridge.store.store import Store
from bridge.vault import Vault
from bridge.webhooks import breaker
from bridge.webhooks.dispatcher import Dispatcher
from bridge.webhooks.envelope import InstanceView, draft
from bridge.webhooks.post import Poster
from tests.support.hooks import MAIN_KEY, text_event

HASTE = 60.0
GROUP = 10
"""Events of one call, at the most."""


def chat_of(number: int, chats: int) -> int:
    """Spread the numbers over the chats, unevenly and the same way each time."""
    return (number * 2_654_435_761 >> 9) % chats


def numbers_of(feeder: int, feeders: int, until: int, chats: int) -> list[int]:
    """Return the numbers that a feeder puts in, in order: all of a chat come by the same one."""
    return [number for number in range(until) if chat_of(number, chats) % feeders == feeder]


def _hasten() -> None:
    schedule.WAITS_S = tuple(wait / HASTE for wait in schedule.WAITS_S)
    schedule.SLOW_WAIT_S /= HASTE
    breaker.SLOW_WAIT_S = schedule.SLOW_WAIT_S
    breaker.PROBE_MAX_S = 1.0


async def feed(store: Store, given: argparse.Namespace, feeder: int) -> None:
    """Store what is this feeder's, a few at a time, and say how far it is."""
    node = new_node_id()
    key = InstanceKey(given.instances[feeder % len(given.instances)])
    epoch = await store.instances.claim(key, node) if feeder < len(given.instances) else None
    assert epoch is not None, "a feeder for each instance"
    view = InstanceView(key)
    mine = numbers_of(feeder, given.feeders, given.until, given.chats)[given.done[feeder] :]
    done = given.done[feeder]
    while mine:
        group, mine = mine[:GROUP], mine[GROUP:]
        drafts = [
            draft(
                text_event(f"chat {chat_of(number, given.chats)}", message_id=f"N{number}", text=str(number)),
                view,
                time.time(),
            )
            for number in group
        ]
        while True:
            try:
                await store.events.append(key, node, epoch, drafts)
                break
            except StoreUnavailable:
                await trio.sleep(0.05)
        done += len(group)
        sys.stdout.write(f"{feeder} {done}\n")
        sys.stdout.flush()
        await trio.sleep(given.pause_s)


async def main(given: argparse.Namespace) -> None:
    store, stop = Store(given.database, vault=Vault(MAIN_KEY)), trio.Event()
    dispatcher = Dispatcher(store, node=new_node_id(), poster=Poster(Guard(["127.0.0.0/8"])))
    store.events.on_commit(dispatcher.wake)
    async with trio.open_nursery() as nursery:
        await nursery.start(partial(store.run, stop=stop))
        await nursery.start(partial(dispatcher.run, stop=stop))
        for feeder in range(given.feeders):
            nursery.start_soon(feed, store, given, feeder)


def parser() -> argparse.ArgumentParser:
    options = argparse.ArgumentParser()
    options.add_argument("--database", required=True)
    options.add_argument("--instances", nargs="+", required=True)
    options.add_argument("--feeders", type=int, required=True)
    options.add_argument("--chats", type=int, required=True)
    options.add_argument("--until", type=int, required=True)
    options.add_argument("--pause-s", type=float, default=0.0)
    options.add_argument("--done", nargs="+", type=int, required=True)
    return options


if __name__ == "__main__":
    logs.configure(level="error", style="console")
    _hasten()
    trio.run(main, parser().parse_args())
