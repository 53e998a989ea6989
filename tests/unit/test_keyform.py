"""The form of a key: what scanners look for, and what a mistyped one looks like."""

import re
import zlib

from hypothesis import given
from hypothesis import strategies as st

from bridge.keyform import PATTERN, hint, is_mistyped, make_key


def test_a_new_key_has_the_form_that_scanners_look_for_and_no_mistake() -> None:
    keys = {make_key() for _ in range(100)}
    assert len(keys) == 100
    for key in keys:
        assert re.fullmatch(PATTERN, key)
        assert not is_mistyped(key)
        assert hint(key) == key[:8]


def test_the_checksum_is_the_crc_32_of_the_random_part() -> None:
    key = make_key()
    value = 0
    for char in key[-6:]:
        value = value * 62 + "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz".index(char)
    assert value == zlib.crc32(key[4:-6].encode())


@given(st.integers(4, 52), st.sampled_from("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"))
def test_one_wrong_character_is_noticed(place: int, char: str) -> None:
    key = make_key()
    changed = key[:place] + char + key[place + 1 :]
    assert is_mistyped(changed) is (changed != key)


def test_a_key_that_an_operator_chose_has_no_checksum_and_no_part_that_may_be_shown() -> None:
    for key in ("a key of my own, long enough", "wab_short", "wab_" + "x" * 43, make_key() + "x"):
        assert not is_mistyped(key)
        assert hint(key) == ""
