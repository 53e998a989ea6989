"""Texts that flow in while things die, and the count afterwards: what WhatsApp knows against what arrived."""

import contextlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import httpx2
import trio

from bridge.sandbox.client import Known, SandboxRefused
from tests.support.stack import Stack, received, until

BURST = 10


@dataclass
class Flow:
    """Numbered texts from one contact to several phones in turn, at a steady rate, also across a restart."""

    stack: Stack
    contact: str
    phones: Sequence[str]
    rate: float
    number: int = 0
    paused: bool = False
    stopped: trio.Event = field(default_factory=trio.Event)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Send until stopped; a burst that fails because the sandbox died is counted by the oracle, if it got there."""
        task_status.started()
        due = trio.current_time()
        while not self.stopped.is_set():
            due = max(due + BURST / self.rate, trio.current_time() - 1)
            if not self.paused:
                texts = [f"text {self.number + n}" for n in range(BURST)]
                self.number += BURST
                with contextlib.suppress(httpx2.HTTPError, SandboxRefused, RuntimeError):  # closed by a restart
                    await self.stack.sandbox.send_many(self.contact, list(self.phones), texts=texts)
            await trio.sleep_until(due)

    async def sent(self, count: int) -> None:
        """Wait until that many more texts are out."""
        goal = self.number + count
        await until(lambda: _true(self.number >= goal))


async def _true(holds: bool) -> bool:
    return holds


@dataclass(frozen=True)
class Count:
    """What became of the texts."""

    sent: int
    acknowledged: int
    received: int
    lost: tuple[Known, ...]
    """Acknowledged to WhatsApp, never at the receiver."""
    doubled: tuple[str, ...]
    out_of_order: tuple[str, ...]
    """Chats whose texts did not arrive in the order in which they were sent."""

    def __str__(self) -> str:
        return (
            f"{self.sent} sent, {self.acknowledged} acknowledged, {self.received} received, "
            f"{len(self.lost)} lost, {len(self.doubled)} doubled, {len(self.out_of_order)} chats out of order"
        )


async def settle(
    stack: Stack,
    contact: str,
    *,
    receiver: httpx2.AsyncClient | None = None,
    quiet_s: float = 2.0,
    timeout_s: float = 20.0,
) -> Count:
    """Wait until everything was acknowledged and has arrived, and a while for what should not come; then count.

    What does not arrive within `timeout_s` is counted as it is then.
    """
    receiver = receiver or stack.receiver

    async def all_here() -> bool:
        counted = await count(stack, contact, receiver)
        return counted.received == counted.acknowledged == counted.sent

    with trio.move_on_after(timeout_s):
        await until(all_here, timeout_s, every_s=0.5)
    await trio.sleep(quiet_s)
    return await count(stack, contact, receiver)


async def count(stack: Stack, contact: str, receiver: httpx2.AsyncClient) -> Count:
    """Compare the oracle with the receiver."""
    known = [message for message in await stack.sandbox.oracle(phone=contact) if message.text]
    events = await received(receiver, type="message.received")
    times = Counter(event["body"]["data"]["text"] for event in events)
    acknowledged = [message for message in known if message.acknowledged]
    order: dict[str, list[int]] = {}
    for event in events:
        data = event["body"]["data"]
        order.setdefault(event["instance"], []).append(int(data["text"].split()[-1]))
    return Count(
        sent=len(known),
        acknowledged=len(acknowledged),
        received=len(times),
        lost=tuple(message for message in acknowledged if message.text not in times),
        doubled=tuple(text for text, number in times.items() if number > 1),
        out_of_order=tuple(key for key, numbers in order.items() if numbers != sorted(numbers)),
    )
