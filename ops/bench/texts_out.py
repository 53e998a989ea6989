"""Texts out: from the call to the answer that WhatsApp has acknowledged the text."""

import time
from collections.abc import Sequence

from ops.bench.candidate import Candidate, Number
from ops.bench.figures import Latency, Sends

FIRST_CONTACT = 491800000000
AT_ONCE = 20


def contact(index: int) -> str:
    return str(FIRST_CONTACT + index)


def pairs(numbers: Sequence[Number]) -> list[tuple[Number, str]]:
    """Return who sends to whom when 20 texts are on their way at once."""
    return [(numbers[index % len(numbers)], contact(index)) for index in range(AT_ONCE)]


async def warm_up(candidate: Candidate, numbers: Sequence[Number]) -> None:
    """Make the contacts, and open the Signal session of each pair."""
    for index in range(AT_ONCE):
        await candidate.sandbox.create_phone(contact(index), f"Contact {index}")
    for number, to in pairs(numbers):
        await candidate.send_in_turn(number, to, 2)


async def in_turn(candidate: Candidate, numbers: Sequence[Number], count: int) -> Sends:
    """Send texts of one number one after the other."""
    before, began = candidate.meter.read(), time.monotonic()
    took = await candidate.send_in_turn(numbers[0], contact(0), count)
    seconds = time.monotonic() - began
    return Sends(count, seconds, Latency.of(took), candidate.meter.usage(before))


async def at_once(candidate: Candidate, numbers: Sequence[Number], count: int) -> Sends:
    """Send 20 texts at a time over all numbers."""
    before, began = candidate.meter.read(), time.monotonic()
    took = await candidate.send_at_once(pairs(numbers), count // AT_ONCE)
    seconds = time.monotonic() - began
    return Sends(len(took), seconds, Latency.of(took), candidate.meter.usage(before))
