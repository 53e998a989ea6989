"""What the API needs of the instances: the calls of their directory, and what these return, as the API sees it."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol, TypeVar

from bridge.domain.ids import CommandId, InstanceKey, MessageId
from bridge.domain.pacing import Turn
from bridge.domain.questions import PhoneFound, Question
from bridge.domain.sends import SendOptions
from bridge.store.rows import InstanceRow

T = TypeVar("T")


class Connecting(Protocol):
    """What a call to connect led to."""

    @property
    def status(self) -> str: ...
    @property
    def state(self) -> str: ...


class QrCode(Protocol):
    """The code that the phone has to scan now."""

    @property
    def code(self) -> str: ...
    @property
    def attempt(self) -> int: ...
    @property
    def expires_at(self) -> datetime: ...


class PairCode(Protocol):
    """The code that the phone's owner has to type in."""

    @property
    def code(self) -> str: ...
    @property
    def expires_at(self) -> datetime: ...


class Progress(Protocol):
    """How far a pairing is: what can be scanned or typed now, and whether nobody can any more."""

    @property
    def state(self) -> str: ...
    @property
    def reason(self) -> str | None: ...
    @property
    def qr(self) -> QrCode | None: ...
    @property
    def code(self) -> PairCode | None: ...
    @property
    def paired(self) -> bool: ...
    @property
    def over(self) -> bool: ...


class Watch(Protocol):
    """Follows the pairing of one instance."""

    def look(self) -> Progress: ...
    async def next(self, seen: Any, within_s: float) -> Progress: ...


class MessageRef(Protocol):
    """How far a message has come. `status` is `unknown` when the engine died in the middle of the send."""

    @property
    def status(self) -> str: ...
    @property
    def message_id(self) -> MessageId | None: ...
    @property
    def to(self) -> str: ...
    @property
    def at(self) -> datetime: ...
    @property
    def command_id(self) -> CommandId: ...


class Directory(Protocol):
    """The instances of this node. A call that was begun is finished even when its caller is cancelled.

    Raises `BridgeError`s: `unknown_instance` (404), mailbox full (429), store or engine down (503), and for a QR code
    of an instance that is paired already one with code `already_connected`.
    """

    async def create(
        self,
        name: str | None,
        external_id: str | None,
        metadata: Mapping[str, object],
        *,
        key: InstanceKey | None = None,
        settings: Mapping[str, object] | None = None,
    ) -> InstanceRow: ...
    async def connect(self, key: InstanceKey, wait_s: float) -> Connecting: ...
    async def qr(self, key: InstanceKey, wait_s: float) -> QrCode | None: ...
    async def pair_code(self, key: InstanceKey, phone: str, *, notify: bool) -> PairCode: ...
    def watch_pairing(self, key: InstanceKey) -> Watch: ...
    async def change(self, key: InstanceKey, changes: Mapping[str, object]) -> InstanceRow: ...
    def heard_ago_s(self, key: InstanceKey) -> float | None: ...
    async def logout(self, key: InstanceKey) -> InstanceRow: ...
    async def disconnect(self, key: InstanceKey) -> InstanceRow: ...
    async def restart(self, key: InstanceKey) -> InstanceRow: ...
    async def delete(self, key: InstanceKey) -> None: ...
    async def query(self, key: InstanceKey, question: Question[T]) -> T: ...
    async def send(
        self,
        key: InstanceKey,
        kind: str,
        to: str,
        body: Mapping[str, object],
        *,
        request_hash: bytes,
        idempotency_key: str | None,
        options: SendOptions,
    ) -> MessageRef: ...
    async def repeated(self, key: InstanceKey, idempotency_key: str, request_hash: bytes) -> MessageRef | None: ...
    async def look_up(self, key: InstanceKey, phones: Sequence[str], *, fresh: bool) -> "Sequence[Lookup]": ...
    async def cancel(self, key: InstanceKey, command: CommandId) -> None: ...
    def holds(self, key: InstanceKey) -> Mapping[CommandId, Turn]: ...


class Lookup(Protocol):
    """What is known of a number, and whether WhatsApp was asked just now."""

    @property
    def found(self) -> PhoneFound: ...
    @property
    def cached(self) -> bool: ...
