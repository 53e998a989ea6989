"""Traffic from many contacts to many instances: so much, so fast, of that kind; the same again for the same seed.

Everything is really encrypted and goes the way of every message. What makes it fast: sessions and key objects stay in
memory, a batch shares one commit, and the batch's size follows from the rate, so that the clock is rarely asked.
"""

import random
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import msgspec
import trio

from bridge.errors import BridgeError
from bridge.protos import e2e
from bridge.sandbox.accounts import Accounts, UnknownPhone
from bridge.sandbox.phones import Phone, Phones
from bridge.sandbox.state import State

MAX_COUNT: Final = 10_000_000
MAX_CONTACTS: Final = 10_000
MAX_RATE: Final = 100_000.0
_FIRST_CONTACT: Final = 4917900000000
_BATCH: Final = 20
_BATCHES_PER_S: Final = 50
_REMEMBERED: Final = 20


class BadLoad(BridgeError):
    """Such a load cannot be made:"""

    code = "bad_load"
    status = 400


class Plan(msgspec.Struct, forbid_unknown_fields=True):
    """What to send. `instances` are phones with a client, or how many of those; no rate: as fast as it goes."""

    instances: int | list[str] = 1
    contacts: int = 10
    rate_per_s: float | None = None
    count: int = 1000
    kind: str = "text"
    seed: int = 1


@dataclass(slots=True)
class Load:
    """A load that runs or has run."""

    number: int
    plan: Plan
    sent: int = 0
    seconds: float = 0.0
    done: bool = False
    error: str | None = None
    first_seq: int = 0
    """The oracle's place in front of its first message."""
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    finished: trio.Event = field(default_factory=trio.Event)


class Loads:
    """The loads of a sandbox, which its server runs."""

    def __init__(self, state: State, accounts: Accounts, phones: Phones) -> None:
        self._state = state
        self._accounts = accounts
        self._phones = phones
        self._nursery: trio.Nursery | None = None
        self._last = 0
        self.all: deque[Load] = deque(maxlen=_REMEMBERED)

    def begin(self, plan: Plan, first_seq: int) -> Load:
        """Begin with a load; raise `BadLoad` or `UnknownPhone` before anything is sent."""
        _check(plan)
        instances = self._instances(plan.instances)
        contacts = [self._phones.create(str(_FIRST_CONTACT + index), None)[0] for index in range(plan.contacts)]
        assert self._nursery is not None, "the server runs the loads"
        self._last += 1
        load = Load(self._last, plan, first_seq=first_seq)
        self.all.append(load)
        self._nursery.start_soon(self._carry_out, load, instances, contacts)
        return load

    def end_all(self) -> int:
        """End all loads; return how many were running."""
        running = [load for load in self.all if not load.done]
        for load in running:
            load.scope.cancel()
        return len(running)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Carry loads out until cancelled."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            task_status.started()
            await trio.sleep_forever()

    def _instances(self, wanted: int | list[str]) -> list[str]:
        if isinstance(wanted, list):
            found = [self._accounts.by_phone(phone).phone for phone in wanted]
        else:
            linked = sorted(account.phone for account in self._accounts if account.linked())
            if len(linked) < wanted:
                raise BadLoad(f"{wanted} instances are wanted, {len(linked)} are paired.")
            found = linked[:wanted]
        if not found:
            raise BadLoad("at least one instance is needed.")
        return found

    async def _carry_out(self, load: Load, instances: Sequence[str], contacts: Sequence[Phone]) -> None:
        plan, started = load.plan, trio.current_time()
        chance = random.Random(plan.seed)  # noqa: S311 - it is to be repeatable
        batch = _BATCH if plan.rate_per_s is None else max(1, min(_BATCH, int(plan.rate_per_s / _BATCHES_PER_S)))
        try:
            with load.scope:
                for index in range(plan.count):
                    if index % batch == 0:
                        await self._state.settled()
                        await trio.sleep_until(started + index / plan.rate_per_s if plan.rate_per_s else started)
                    sender, to = contacts[chance.randrange(len(contacts))], instances[chance.randrange(len(instances))]
                    self._phones.send_message(sender, to, KINDS[plan.kind](chance, index))
                    load.sent += 1
                await self._state.settled()
        except UnknownPhone as error:  # an instance was removed meanwhile
            load.error = str(error)
        finally:
            load.seconds = trio.current_time() - started
            load.done = True
            load.finished.set()


def _check(plan: Plan) -> None:
    if plan.kind not in KINDS:
        raise BadLoad(f"the kinds are {', '.join(KINDS)}.")
    if not (0 < plan.count <= MAX_COUNT and 0 < plan.contacts <= MAX_CONTACTS):
        raise BadLoad(f"`count` goes from 1 to {MAX_COUNT}, `contacts` to {MAX_CONTACTS}.")
    if plan.rate_per_s is not None and not 0 < plan.rate_per_s <= MAX_RATE:
        raise BadLoad(f"`rate_per_s` goes up to {MAX_RATE:.0f}.")


def _text(chance: random.Random, index: int) -> "e2e.Message":
    return e2e.Message(conversation=f"load {index} " + "x" * chance.randrange(80))


def _link(chance: random.Random, index: int) -> "e2e.Message":
    url = f"https://example.org/{chance.randrange(10**6)}"
    return e2e.Message(
        extendedTextMessage=e2e.ExtendedTextMessage(text=f"load {index} {url}", matchedText=url, title="A page")
    )


def _location(chance: random.Random, index: int) -> "e2e.Message":
    return e2e.Message(
        locationMessage=e2e.LocationMessage(
            degreesLatitude=chance.uniform(-90, 90), degreesLongitude=chance.uniform(-180, 180), name=f"load {index}"
        )
    )


def _contact(chance: random.Random, index: int) -> "e2e.Message":
    card = f"BEGIN:VCARD\nVERSION:3.0\nFN:load {index}\nTEL:+49{chance.randrange(10**9)}\nEND:VCARD"
    return e2e.Message(contactMessage=e2e.ContactMessage(displayName=f"load {index}", vcard=card))


def _mixed(chance: random.Random, index: int) -> "e2e.Message":
    return chance.choice((_text, _text, _text, _link, _location, _contact))(chance, index)


KINDS: Final[Mapping[str, Callable[[random.Random, int], "e2e.Message"]]] = {
    "text": _text,
    "link": _link,
    "location": _location,
    "contact": _contact,
    "mixed": _mixed,
}
