"""What the engine reports of one instance, on its way into the store."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from bridge.domain.events import Event
from bridge.domain.ids import Epoch, NodeId
from bridge.domain.session import Session
from bridge.domain.signals import Signal
from bridge.engine.journal import Record
from bridge.engine.translate import Context, advance, translate
from bridge.instances import announce
from bridge.instances.numbers import Numbers
from bridge.media.incoming import Incoming
from bridge.store.events import Draft
from bridge.store.rows import InstanceRow
from bridge.store.store import Store
from bridge.webhooks.envelope import InstanceView, draft


class Inbox:
    """Turns records into events and stores them; one per start of an actor, because it writes under one epoch."""

    def __init__(
        self, store: Store, row: InstanceRow, node: NodeId, epoch: Epoch, incoming: Incoming | None = None
    ) -> None:
        self._store = store
        self._incoming = incoming
        self.node = node
        self.epoch = epoch
        self._context = Context()
        self._numbers = Numbers(store.contacts.numbers)
        self._push_name = row.push_name
        self.view = InstanceView(row.key, row.external_id, row.metadata, row.jid, row.lid)
        self._lost_phone: str | None = None
        self.on_events: Callable[[Sequence[Event]], None] | None = None
        """Told of what the engine reported, once it is stored; None where nobody wants to know."""

    def begin(self) -> None:
        """Begin with the records of a new engine session: what an earlier one said about itself is over."""
        self._context = Context()

    @property
    def phone(self) -> str | None:
        """The instance's number; one that has just lost its device still has it in what tells of that."""
        return self.view.phone or self._lost_phone

    def identify(self, jid: str | None, lid: str | None) -> None:
        """Use another identity from now on: the instance was paired, or lost its device."""
        self._lost_phone = self.view.phone if jid is None else None
        self.view = replace(self.view, jid=jid, lid=lid)

    def relabel(self, external_id: str | None, metadata: Mapping[str, object]) -> None:
        """Name the caller's own fields so from now on."""
        self.view = replace(self.view, external_id=external_id, metadata=metadata)

    async def rename(self, name: str) -> None:
        """Store the name that the user shows to others, and report it when it is another."""
        await self._store.instances.set_push_name(self.view.key, self.node, self.epoch, name)
        if name != self._push_name:
            self._push_name = name
            await self.emit([announce.push_name(self.view.key, self.view.jid, name, at=time.time())])

    async def announce(self, session: Session, name: str) -> None:
        """Report the session's state as it is now, under the original's name for how it came to that."""
        key, now = self.view.key, time.time()
        occasion = f"{self.epoch}:{now:.6f}"
        event = announce.connection_update(key, session, name=name, phone=self.phone, at=now, occasion=occasion)
        await self.emit([event])

    async def take(self, records: Sequence[Record]) -> list[Signal]:
        """Commit the events of `records` in one go and return the signals among them, in order."""
        events: list[Event] = []
        signals: list[Signal] = []
        for record in records:
            for found in translate(record, self._context):
                if isinstance(found, Event):
                    events.append(found)
                else:
                    signals.append(found)
            self._context = advance(record, self._context)
        events = await self._numbers.complete(events)
        if self._incoming is not None:
            events = await self._incoming.expect(self.view.key, events)
        await self.emit(events)
        if self.on_events is not None:
            self.on_events(events)
        return signals

    async def emit(self, events: Sequence[Event]) -> None:
        """Commit `events`; a repeated one changes nothing. Raise `StoreError` when they are not committed."""
        if events:
            await self._store.events.append(self.view.key, self.node, self.epoch, self.drafts(events))

    def drafts(self, events: Sequence[Event]) -> list[Draft]:
        """Return the envelopes of `events`."""
        now = time.time()
        return [draft(event, self.view, now) for event in events]
