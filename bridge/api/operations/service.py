"""Probes, metrics, and the documentation itself."""

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from bridge.api.openapi import Operation, text


class Probe(Struct, frozen=True):
    """Answer of a probe."""

    status: str


class Readiness(Struct, frozen=True):
    """Answer of GET /readyz; `tree` is there with `?verbose`."""

    status: str
    checks: dict[str, bool]
    tree: dict[str, Any] | None = None


class Version(Struct, frozen=True):
    """Answer of GET /version."""

    name: str
    version: str
    python: str


class Health(Struct, frozen=True):
    """Answer of GET /health."""

    status: str
    checks: dict[str, bool]
    name: str
    version: str
    python: str
    instances: dict[str, Any] | None
    reason: str | None = None


_PAGE = "<!doctype html>..."
_CHECKS = {"store": True, "started": True, "draining": False}
_VERSION = {"name": "whatsapp-bridge", "version": "0.1.0", "python": "3.13.0"}

OPERATIONS: Mapping[str, Operation] = {
    "GET /livez": Operation(
        "Whether the process answers.", answer=Probe, shows={"status": "alive"}, others={503: Probe}
    ),
    "GET /startupz": Operation(
        "Whether the start is complete.", answer=Probe, shows={"status": "started"}, others={503: Probe}
    ),
    "GET /readyz": Operation(
        "Whether calls can be served.",
        answer=Readiness,
        shows={"status": "ready", "checks": _CHECKS},
        query={"verbose": text("adds the process tree; names, errors and details with a key")},
        others={503: Readiness},
    ),
    "GET /health": Operation(
        "How many instances are in which state.",
        answer=Health,
        shows={"status": "ok", "checks": _CHECKS, **_VERSION, "instances": {"total": 1, "by_state": {"online": 1}}},
        others={503: Health},
    ),
    "GET /version": Operation("Which version this is.", answer=Version, shows=_VERSION),
    "GET /metrics": Operation(
        "Metrics for Prometheus.", media=("text/plain",), sample='bridge_instances{state="online"} 1.0\n'
    ),
    "GET /openapi.json": Operation("This document.", answer=dict[str, Any], shows={"openapi": "3.1.0"}),
    "GET /docs": Operation("This document, to be read in a browser.", media=("text/html",), sample=_PAGE),
    "GET /ui": Operation("The dashboard, for a browser.", media=("text/html",), sample=_PAGE),
    "GET /ui/{asset}": Operation(
        "A file of the dashboard.",
        media=("text/javascript", "text/css", "text/html"),
        sample="// The dashboard's pages by their address behind the #, and signing in.\n",
    ),
}
