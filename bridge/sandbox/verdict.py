"""Judges what became of messages: which were lost, doubled, or out of order. Pure.

Two questions. Without a list: did every device acknowledge what was relayed to it, in the order in which it was sent?
With a list of what arrived somewhere behind the client (a bot's log, a webhook receiver), message ids in the order of
their arrival: did everything that was acknowledged arrive there, once, and each sender's messages in order?
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from bridge.sandbox.oracle import Message

SHOWN: Final = 1000
"""How many ids of a kind are listed at most; the counts are of all."""


@dataclass(slots=True)
class Verdict:
    """What became of the messages that were looked at; ids are listed in the order in which they were sent."""

    checked: int = 0
    acknowledged: int = 0
    lost: list[str] = field(default_factory=list)
    """Relayed to a device and not acknowledged by it; with a list: acknowledged, and not on the list."""
    unrelayed: list[str] = field(default_factory=list)
    """Sent to somebody who has no device to relay them to."""
    doubled: list[str] = field(default_factory=list)
    """Sent before by the same device to the same recipient with the same content, under another id; with a list: more
    than once on the list."""
    out_of_order: list[str] = field(default_factory=list)
    """Acknowledged by a device before, or on the list in front of, one that their sender had sent earlier."""

    @property
    def clean(self) -> bool:
        return not (self.lost or self.doubled or self.out_of_order)


def judge(messages: Iterable[Message]) -> Verdict:
    """Judge messages by their acknowledgements; they come in the order in which they were sent."""
    verdict = Verdict()
    seen: set[int] = set()  # hashes of 64 bits: the texts of a long run would fill the memory
    latest: dict[tuple[str, str], float] = {}
    for message in messages:
        verdict.checked += 1
        acknowledged = {copy.device: copy.at for copy in message.acknowledged}
        if not message.relayed:
            verdict.unrelayed.append(message.id)
        elif any(copy.device not in acknowledged for copy in message.relayed):
            verdict.lost.append(message.id)
        else:
            verdict.acknowledged += 1
        if message.hash is not None:
            content = hash((message.sender_device, message.recipient, message.hash))
            if content in seen:
                verdict.doubled.append(message.id)
            seen.add(content)
        late = False
        for device, at in acknowledged.items():
            pair = (message.sender_device, device)
            late = late or at < latest.get(pair, 0.0)
            latest[pair] = max(at, latest.get(pair, 0.0))
        if late:
            verdict.out_of_order.append(message.id)
    return verdict


def compare(messages: Iterable[Message], arrived: Sequence[str]) -> Verdict:
    """Judge messages by a list of the ids that arrived, in the order of their arrival.

    Only those that were acknowledged are expected there. Ids on the list that are unknown here are left out.
    """
    verdict = Verdict()
    counts = Counter(arrived)
    first = {message_id: place for place, message_id in reversed(list(enumerate(arrived)))}
    latest: dict[tuple[str, str], int] = {}
    for message in messages:
        verdict.checked += 1
        if not message.acknowledged:
            continue
        verdict.acknowledged += 1
        place = first.get(message.id)
        if place is None:
            verdict.lost.append(message.id)
            continue
        if counts[message.id] > 1:
            verdict.doubled.append(message.id)
        chat = (message.sender_device, message.recipient)
        if place < latest.get(chat, -1):
            verdict.out_of_order.append(message.id)
        latest[chat] = max(place, latest.get(chat, -1))
    return verdict
