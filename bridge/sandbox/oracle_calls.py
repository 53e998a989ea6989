"""The calls by which a test asks the oracle what happened to the messages."""

from dataclasses import asdict
from typing import Final

import msgspec

from bridge.sandbox import shapes
from bridge.sandbox.calls import Route, body, limit, number
from bridge.sandbox.http import Request, Response, json_response
from bridge.sandbox.oracle import Copy, Filter, Message
from bridge.sandbox.verdict import SHOWN, Verdict, compare, judge
from bridge.sandbox.world import World


class Arrived(msgspec.Struct, forbid_unknown_fields=True):
    """Message ids in the order in which they arrived wherever they should; and which of the messages are meant."""

    message_ids: list[str]
    after: int = 0
    phone: str | None = None
    sender: str | None = None
    recipient: str | None = None
    kind: str | None = None


async def oracle(world: World, request: Request) -> Response:
    """Return messages in the order they were sent."""
    after = number(request, "after", 0)
    found = world.oracle.after(after, limit(request), _only(world, request))
    last = found[-1].seq if found else after
    return json_response(200, {"messages": [_known(message) for message in found], "next_after": last})


async def verdict(world: World, request: Request) -> Response:
    """Say which messages were not acknowledged, sent twice, or acknowledged out of order."""
    return _judged(judge(world.oracle.all(number(request, "after", 0), _only(world, request))))


async def compare_arrived(world: World, request: Request) -> Response:
    """Say which acknowledged messages are missing from a list of those that arrived, twice on it, or out of order."""
    asked = body(request, Arrived)
    only = Filter(_account(world, asked.phone), asked.sender, asked.recipient, asked.kind)
    return _judged(compare(world.oracle.all(asked.after, only), asked.message_ids))


async def transfers(world: World, request: Request) -> Response:
    """Return uploads to the media host and downloads from it, in order."""
    after = number(request, "after", 0)
    found = world.oracle.transfers(after, limit(request))
    last = found[-1].seq if found else after
    return json_response(200, {"transfers": [asdict(item) for item in found], "next_after": last})


async def trim_oracle(world: World, request: Request) -> Response:
    """Forget the messages up to a place in their order, or all."""
    until = request.query.get("until")
    trimmed = world.oracle.trim(None if until is None else number(request, "until", 0))
    return json_response(200, {"trimmed": trimmed})


def _only(world: World, request: Request) -> Filter:
    query = request.query
    unacknowledged = number(request, "unacknowledged", 0) > 0
    phone = _account(world, query.get("phone"))
    return Filter(phone, query.get("from"), query.get("to"), query.get("kind"), unacknowledged)


def _account(world: World, phone: str | None) -> str | None:
    return None if phone is None else world.phones.find(phone).account.phone


def _judged(found: Verdict) -> Response:
    lists = {name: getattr(found, name) for name in ("lost", "unrelayed", "doubled", "out_of_order")}
    counts = {f"{name}_count": len(ids) for name, ids in lists.items()}
    shown = {name: ids[:SHOWN] for name, ids in lists.items()}
    told = {"clean": found.clean, "checked": found.checked, "acknowledged": found.acknowledged}
    return json_response(200, {**told, **counts, **shown})


def _known(message: Message) -> dict[str, object]:
    def copies(items: tuple[Copy, ...]) -> list[dict[str, object]]:
        return [asdict(item) for item in items]

    return {
        "seq": message.seq,
        "id": message.id,
        "from": message.sender,
        "from_device": message.sender_device,
        "to": message.recipient,
        "kind": message.kind,
        "text": message.text,
        "hash": message.hash,
        "sent_at": message.sent_at,
        "relayed": copies(message.relayed),
        "acknowledged": copies(message.acknowledged),
    }


_ONLY: Final = {
    "after": "only messages behind this place",
    "phone": "only messages from or to this phone",
    "from": "only messages of this sender",
    "to": "only messages to this recipient: a number, or a group's address",
    "kind": "only messages of this kind",
    "unacknowledged": "1: only those that a device has not acknowledged",
}
_LIMIT: Final = {"limit": "how many at most; 1000, 10000 at most"}

ROUTES: Final = (
    Route("GET", "/oracle", oracle, answer=shapes.KnownPage, query=_ONLY | _LIMIT),
    Route(
        "DELETE", "/oracle", trim_oracle, answer=shapes.Trimmed, query={"until": "up to this place; without it, all"}
    ),
    Route("GET", "/oracle/verdict", verdict, answer=shapes.Judged, query=_ONLY),
    Route("POST", "/oracle/verdict", compare_arrived, body=Arrived, answer=shapes.Judged),
    Route(
        "GET",
        "/oracle/transfers",
        transfers,
        answer=shapes.TransferPage,
        query={"after": "only those behind this place"} | _LIMIT,
    ),
)
