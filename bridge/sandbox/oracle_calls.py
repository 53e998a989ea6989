"""The calls by which a test asks the oracle what happened to the messages."""

from dataclasses import asdict
from typing import Final

from bridge.sandbox import shapes
from bridge.sandbox.calls import Route, limit, number
from bridge.sandbox.http import Request, Response, json_response
from bridge.sandbox.oracle import Copy, Message
from bridge.sandbox.world import World


async def oracle(world: World, request: Request) -> Response:
    """Return messages in the order they were sent, of one phone as sender or recipient or of all."""
    after = number(request, "after", 0)
    phone = request.query.get("phone")
    account = None if phone is None else world.phones.find(phone).account.phone
    found = world.oracle.after(after, limit(request), account)
    last = found[-1].seq if found else after
    return json_response(200, {"messages": [_known(message) for message in found], "next_after": last})


async def trim_oracle(world: World, request: Request) -> Response:
    """Forget the messages up to a place in their order, or all."""
    until = request.query.get("until")
    trimmed = world.oracle.trim(None if until is None else number(request, "until", 0))
    return json_response(200, {"trimmed": trimmed})


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


ROUTES: Final = (
    Route(
        "GET",
        "/oracle",
        oracle,
        answer=shapes.KnownPage,
        query={
            "after": "only messages behind this place",
            "limit": "how many at most; 1000, 10000 at most",
            "phone": "only messages from or to this phone",
        },
    ),
    Route(
        "DELETE", "/oracle", trim_oracle, answer=shapes.Trimmed, query={"until": "up to this place; without it, all"}
    ),
)
