"""The binary XML, against bytes whose meaning is known and bytes that mean nothing."""

import json
import zlib
from pathlib import Path

import pytest

from bridge.sandbox import nodes
from bridge.sandbox.nodes import GROUP_SERVER, LID_SERVER, SERVER, USER_SERVER, Jid, MalformedNode, Node, decode, encode


def test_a_word_of_the_dictionary_is_one_byte_and_of_the_larger_ones_two() -> None:
    assert encode(Node("iq")) == bytes([0, 248, 1, 25])
    words = json.loads(Path(nodes.__file__).with_name("tokens.json").read_text())
    assert encode(Node(words["double"][2][7])) == bytes([0, 248, 1, 238, 7])


def test_the_dictionary_has_the_sizes_of_version_3_and_no_word_twice() -> None:
    words = json.loads(Path(nodes.__file__).with_name("tokens.json").read_text())
    assert [len(words["single"]), *map(len, words["double"])] == [236, 256, 256, 256, 256]
    everything = [*words["single"], *(word for page in words["double"] for word in page)]
    assert len(set(everything)) == len(everything)


def test_numbers_and_upper_case_hex_take_half_a_byte_a_character() -> None:
    assert encode(Node("iq", {"id": "12.3-4"}))[5:] == bytes([255, 3, 0x12, 0xB3, 0xA4])
    assert encode(Node("iq", {"id": "12345"}))[5:] == bytes([255, 0x80 | 3, 0x12, 0x34, 0x5F])
    assert encode(Node("iq", {"id": "3AB"}))[5:] == bytes([251, 0x80 | 2, 0x3A, 0xBF])


def test_an_address_is_written_as_an_address_and_not_as_its_text() -> None:
    assert encode(Node("iq", {"to": SERVER}))[5:] == bytes([250, 0, 3])
    assert encode(Node("iq", {"to": Jid("1234", LID_SERVER, 5)}))[5:] == bytes([247, 1, 5, 255, 2, 0x12, 0x34])
    assert encode(Node("iq", {"to": Jid("1234", USER_SERVER, 5)}))[5:] == bytes([247, 0, 5, 255, 2, 0x12, 0x34])
    assert decode(encode(Node("iq", {"to": Jid("12", GROUP_SERVER)}))).jid("to") == Jid("12", GROUP_SERVER)


def test_addresses_of_other_services_are_understood() -> None:
    two = bytes([255, 1, 0x12])
    messenger = bytes([0, 248, 3, 25, 17, 246, *two, 1, 0, 252, 4, *b"msgr"])
    interop = bytes([0, 248, 3, 25, 17, 245, *two, 0, 7, 0, 9, 252, 7, *b"interop"])
    assert decode(messenger).jid("to") == Jid("12", "msgr", 256)
    assert decode(interop).jid("to") == Jid("12", "interop", 7)


def test_addresses_survive_their_text_form() -> None:
    for jid in (SERVER, Jid("1", GROUP_SERVER), Jid("1", LID_SERVER, 7)):
        assert Jid.parse(str(jid)) == jid
    assert Jid("1", LID_SERVER, 7).bare() == Jid("1", LID_SERVER)
    assert Jid("1", LID_SERVER).with_device(3) == Jid("1", LID_SERVER, 3)


def test_attributes_without_a_value_are_left_out() -> None:
    assert encode(Node("iq", {"id": None, "to": ""})) == encode(Node("iq"))


def test_a_compressed_stanza_is_inflated() -> None:
    node = Node("message", {"id": "1"}, [Node("enc", {}, b"x" * 1000)])
    assert decode(b"\x02" + zlib.compress(encode(node)[1:])) == node


def test_a_compressed_stanza_that_would_not_fit_a_frame_is_refused() -> None:
    bomb = zlib.compress(bytes(nodes.MAX_INFLATED_BYTES + 1))
    with pytest.raises(MalformedNode):
        decode(b"\x02" + bomb)


def test_long_lists_and_contents_take_the_longer_lengths() -> None:
    for size in (255, 256, (1 << 20) - 1, 1 << 20):
        node = Node("iq", {}, bytes(size))
        assert decode(encode(node)) == node
    many = Node("iq", {}, [Node("item") for _ in range(300)])
    assert decode(encode(many)) == many


def test_the_way_to_a_child_is_its_tags() -> None:
    node = Node("iq", {}, [Node("a"), Node("b", {}, [Node("c", {"n": "1"}), Node("c", {"n": "2"})])])
    found = node.child("b", "c")
    assert found is not None
    assert found.text("n") == "1"
    assert node.child("b", "x") is None
    assert [inner.text("n") for inner in node.children()[1].all("c")] == ["1", "2"]


def test_content_that_is_a_word_of_the_dictionary_reads_as_bytes() -> None:
    assert decode(encode(Node("iq", {}, "devices"))).data() == b"devices"
    assert Node("iq").data() == b""


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0",
        b"\0\0",
        bytes([0, 248, 0]),
        bytes([0, 248, 1]),
        bytes([0, 248, 2, 25]),
        bytes([0, 248, 1, 25, 0]),
        bytes([0, 248, 2, 25, 252, 5, 1]),
        bytes([0, 248, 1, 252, 1, 0xFF]),
        bytes([0, 248, 1, 244]),
        bytes([0, 25]),
        bytes([2, 1, 2, 3]),
        bytes([0]) + bytes([248, 2, 25, 248, 1]) * 400,
    ],
)
def test_bytes_that_are_no_stanza_are_refused_with_one_error(data: bytes) -> None:
    with pytest.raises(MalformedNode):
        decode(data)
