"""The binary XML keeps every tree, and takes any bytes without another error than its own."""

import contextlib

from hypothesis import given
from hypothesis import strategies as st

from bridge.sandbox.nodes import Jid, MalformedNode, Node, decode, encode

words = st.one_of(
    st.sampled_from(["iq", "message", "participant", "s.whatsapp.net", "devices"]),
    st.text("0123456789-.", min_size=1, max_size=140),
    st.text("0123456789ABCDEF", min_size=1, max_size=140),
    st.text(min_size=1, max_size=20),
)
servers = st.sampled_from(["s.whatsapp.net", "lid", "hosted", "hosted.lid"])
jids = st.one_of(
    st.builds(Jid, words, servers, st.integers(0, 255)),
    st.builds(Jid, words, st.sampled_from(["g.us", "broadcast", "newsletter"])),
)
attributes = st.dictionaries(words, st.one_of(words, jids), max_size=4)
leaves = st.builds(Node, words, attributes, st.one_of(st.none(), st.binary(max_size=300)))
trees = st.recursive(
    leaves, lambda inner: st.builds(Node, words, attributes, st.lists(inner, min_size=1, max_size=3)), max_leaves=8
)


@given(trees)
def test_every_tree_comes_back_as_it_was(node: Node) -> None:
    assert decode(encode(node)) == node


@given(st.binary(max_size=200))
def test_any_bytes_are_a_stanza_or_malformed(data: bytes) -> None:
    with contextlib.suppress(MalformedNode):
        assert isinstance(decode(data), Node)


@given(trees, st.data())
def test_a_damaged_stanza_is_another_stanza_or_malformed(node: Node, data: st.DataObject) -> None:
    wire = bytearray(encode(node))
    wire[data.draw(st.integers(1, len(wire) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(MalformedNode):
        assert isinstance(decode(bytes(wire)), Node)
