"""What the API needs of the rest of the bridge, as the API sees it: the interfaces that its handlers call.

The bridge's real parts fulfil these by their shape, so that this package imports neither actors nor engines. Those of
the store are in `bridge.api.stores`, those of the instances in `bridge.api.directory`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import trio

from bridge.api.directory import Directory
from bridge.api.stores import ApiStore
from bridge.domain.ids import EndpointId, InstanceKey, NodeId
from bridge.domain.lanes import Answer
from bridge.media.service import MediaService


class Webhooks(Protocol):
    """What delivery does for the API. `admit` raises `url_refused`, `admit_headers` `header_refused` (422)."""

    async def admit(self, url: str) -> None: ...
    def admit_headers(self, headers: Mapping[str, str]) -> None: ...
    async def test(self, id: EndpointId, instance: InstanceKey | None) -> Answer | None: ...
    def resumed(self, id: EndpointId) -> None: ...
    def hurried(self) -> None: ...
    def replaying(self) -> None: ...
    def held(self) -> frozenset[EndpointId]: ...


class TreeNode(Protocol):
    """A node of the process tree: a supervisor's snapshot."""

    @property
    def name(self) -> str: ...
    @property
    def kind(self) -> str: ...
    @property
    def state(self) -> str: ...
    @property
    def restarts(self) -> int: ...
    @property
    def since_s(self) -> float: ...
    @property
    def last_error(self) -> str | None: ...
    @property
    def detail(self) -> Mapping[str, object]: ...
    @property
    def children(self) -> "tuple[TreeNode, ...]": ...


class Probes(Protocol):
    """The health of this process. A number that is logged out or banned changes none of the answers."""

    def live(self) -> bool: ...
    def started(self) -> bool: ...
    def ready(self) -> tuple[bool, Mapping[str, object]]: ...
    def tree(self) -> TreeNode: ...
    async def metrics(self) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of a request."""

    body_bytes: int = 1_048_576
    body_s: float = 30
    """How long the body of a request may take to arrive."""
    in_flight: int = 1_000
    """Requests at the same time, beyond which callers get 503; probes are not counted."""
    call_s: float = 60
    """How long a handler may go on with what it promised after its caller went away."""
    key_cache_s: float = 10
    """How long a key is believed without asking the store: so long does a revoked key live on."""
    rate_per_s: float = 0
    """Calls that one key may make per second, unless it has a rate of its own; 0: no limit."""
    metadata_bytes: int = 16_384
    inline_bytes: int = 25_165_824
    """Of a body that may hold a file as base64."""
    media_bytes: int = 134_217_728
    """Of a file that is uploaded; multipart may add a little."""
    upload_s: float = 600
    """How long an upload may take to arrive."""
    transfer_s: float = 360
    """How long a send with a file may take, beyond `call_s`."""
    text_chars: int = 65_536
    """WhatsApp's own limit of a text."""


@dataclass(frozen=True, slots=True)
class ApiContext:
    """Everything that a handler may use."""

    store: ApiStore
    directory: Directory
    probes: Probes
    node: NodeId
    webhooks: Webhooks
    auth_on: bool = True
    limits: Limits = field(default_factory=Limits)
    stopping: trio.Event = field(default_factory=trio.Event)
    """Set when the bridge is about to stop: what would go on for ever ends then."""
    trusted_proxies: tuple[str, ...] = ()
    """Networks whose X-Forwarded-For is believed."""
    metrics: str = "key"
    """Who may ask for them: key, open or off."""
    audit: str = "changes"
    """What is recorded: changes, all or off."""
    media: MediaService | None = None
    """None where media are of no interest."""
