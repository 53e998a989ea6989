"""The two forms of an answer to a client's query (`iq` stanza)."""

from bridge.sandbox.nodes import SERVER, Node
from bridge.sandbox.relay import Attrs


def result(node: Node, content: list[Node] | None = None) -> Node:
    """Return the answer that says a query succeeded."""
    return Node("iq", {"from": node.jid("to") or SERVER, "type": "result", "id": node.text("id")}, content)


def refusal(node: Node, code: int, text: str) -> Node:
    """Return the answer that says a query failed."""
    attrs: Attrs = {"from": node.jid("to") or SERVER, "type": "error", "id": node.text("id")}
    return Node("iq", attrs, [Node("error", {"code": str(code), "text": text})])


def data_of(node: Node, tag: str) -> bytes:
    """Return the content of a child as bytes, empty where there is no such child."""
    child = node.child(tag)
    return b"" if child is None else child.data()
