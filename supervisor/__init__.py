"""Supervision trees in OTP's sense on Trio's nurseries, with backoff between restarts and parking.

Stands alone: the standard library and trio. Where it differs from OTP: restarts wait (`Backoff`); a child that ends too
often may be parked instead of ending its supervisor (`Parking`); children added by `start_child` under one_for_one
start and stop side by side, as OTP's simple_one_for_one; a child stopped by `stop_child` stays stopped when
its siblings are restarted.
"""

from supervisor.actor import Actor, Failed
from supervisor.errors import (
    ActorDown,
    ChildExists,
    DeadlineExceeded,
    Ignore,
    IntensityExceeded,
    MailboxFull,
    NoSuchChild,
    NotRunning,
    Shutdown,
    StartFailed,
    SupervisorError,
)
from supervisor.mailbox import Letter, Mailbox
from supervisor.snapshot import Change, Kind, Snapshot, State
from supervisor.spec import (
    BRUTAL_KILL,
    INFINITY,
    Backoff,
    ChildSpec,
    Intensity,
    Parking,
    Restart,
    Run,
    Strategy,
)
from supervisor.tree import Supervisor

__all__ = [
    "BRUTAL_KILL",
    "INFINITY",
    "Actor",
    "ActorDown",
    "Backoff",
    "Change",
    "ChildExists",
    "ChildSpec",
    "DeadlineExceeded",
    "Failed",
    "Ignore",
    "Intensity",
    "IntensityExceeded",
    "Kind",
    "Letter",
    "Mailbox",
    "MailboxFull",
    "NoSuchChild",
    "NotRunning",
    "Parking",
    "Restart",
    "Run",
    "Shutdown",
    "Snapshot",
    "StartFailed",
    "State",
    "Strategy",
    "Supervisor",
    "SupervisorError",
]
