"""What the actors of one bridge share."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from bridge.domain.ids import NodeId
from bridge.domain.pacing import PROFILES, Profile
from bridge.engine.pool import EnginePool
from bridge.instances.attach import Attacher
from bridge.media.incoming import Incoming
from bridge.store.store import Store


@dataclass(frozen=True, slots=True)
class Parts:
    """What every actor of this bridge shares."""

    store: Store
    engines: EnginePool
    node: NodeId
    send_timeout_s: float = 20.0
    self_check_s: float = 300.0
    """After so long a silence WhatsApp is asked whether it still hears us; 0: never."""
    attacher: Attacher | None = None
    incoming: Incoming | None = None
    """Both are None where media are of no interest."""
    pacing_profile: str = "off"
    """Of instances that have chosen none."""
    profiles: Mapping[str, Profile | None] = field(default_factory=lambda: PROFILES)
