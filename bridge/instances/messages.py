"""What an instance's actor takes from its mailbox."""

from dataclasses import dataclass

import msgspec

from bridge.domain.events import Event
from bridge.domain.ids import CommandId
from bridge.domain.signals import Signal
from bridge.engine.journal import Record
from bridge.engine.session import Session as EngineSession
from bridge.instances.outbox import Outgoing


@dataclass(frozen=True, slots=True)
class Told:
    """A signal from a caller or from the clock."""

    signal: Signal


class Reported(msgspec.Struct, frozen=True):
    """What the engine reported on `session`, in order; stored before the next batch is taken."""

    session: EngineSession
    records: tuple[Record, ...]


@dataclass(frozen=True, slots=True)
class Lost:
    """The engine's process died under `session`."""

    session: EngineSession
    error: str


class Send(msgspec.Struct, frozen=True):
    """A message to send; answered as soon as it waits in the outbox."""

    message: Outgoing


@dataclass(frozen=True, slots=True)
class Cancel:
    """Take a queued message back; answered with whether it was still waiting."""

    command: CommandId


@dataclass(frozen=True, slots=True)
class Pace:
    """Go by this pacing profile from now on, None: by the one of the bridge's settings."""

    profile: str | None


@dataclass(frozen=True, slots=True)
class Emit:
    """An event about the instance itself, made outside of its actor."""

    event: Event


@dataclass(frozen=True, slots=True)
class Logout:
    """Unlink the device at WhatsApp; answered when the instance is logged out."""


@dataclass(frozen=True, slots=True)
class Delete:
    """Log out at WhatsApp and leave for good; answered when the session's rows and journal are gone."""


@dataclass(frozen=True, slots=True)
class StoreLost:
    """PostgreSQL does not answer: nothing that is received now could be kept."""


Message = Told | Reported | Lost | Send | Cancel | Pace | Emit | Logout | Delete | StoreLost
