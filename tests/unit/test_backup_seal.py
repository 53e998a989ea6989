"""The encrypted stream of a backup: what went in comes out, and nothing else does."""

import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.backup.archive import read_parts, write_end, write_part
from bridge.backup.seal import CHUNK_BYTES, MAGIC, BadBackup, Opener, Sealer

PASSPHRASE = "correct horse battery"


def sealed(*pieces: bytes, passphrase: str = PASSPHRASE) -> bytes:
    out = io.BytesIO()
    sealer = Sealer(out, passphrase, n=2)
    for piece in pieces:
        sealer.write(piece)
    sealer.close()
    return out.getvalue()


def opened(data: bytes, passphrase: str = PASSPHRASE) -> bytes:
    opener, found = Opener(io.BytesIO(data), passphrase), b""
    while piece := opener.read(70_000):
        found += piece
    return found


@pytest.mark.parametrize("size", [0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 3 * CHUNK_BYTES])
def test_what_was_written_is_read(size: int) -> None:
    plain = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    assert opened(sealed(plain)) == plain
    assert b"xxxxxxxx" not in sealed(b"x" * 4096)


def test_a_wrong_passphrase_is_told_from_damage() -> None:
    with pytest.raises(BadBackup, match="passphrase is wrong"):
        opened(sealed(b"secret"), passphrase="another one, as long")


def chunks(data: bytes) -> tuple[bytes, list[bytes]]:
    """Return the head and the chunks of a sealed stream."""
    size = len(MAGIC) + 4 + int.from_bytes(data[len(MAGIC) : len(MAGIC) + 4], "big")
    head, rest, found = data[:size], data[size:], []
    while rest:
        length = 4 + int.from_bytes(rest[:4], "big")
        found.append(rest[:length])
        rest = rest[length:]
    return head, found


def test_a_chunk_that_is_left_out_moved_or_repeated_is_noticed() -> None:
    head, (first, second, last) = chunks(sealed(b"a" * (2 * CHUNK_BYTES + 10)))
    for changed in ([first, second], [first, last], [second, first, last], [first, first, second, last], []):
        with pytest.raises(BadBackup):
            opened(head + b"".join(changed))


def test_chunks_of_two_files_do_not_mix() -> None:
    head, (first, *_) = chunks(sealed(b"a" * (CHUNK_BYTES + 10)))
    _, (_, last) = chunks(sealed(b"b" * (CHUNK_BYTES + 10)))
    with pytest.raises(BadBackup):
        opened(head + first + last)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_changed_byte_is_noticed(data: st.DataObject) -> None:
    whole = bytearray(sealed(b"some text that matters"))
    place = data.draw(st.integers(0, len(whole) - 1))
    whole[place] ^= data.draw(st.integers(1, 255))
    with pytest.raises(BadBackup):
        opened(bytes(whole))


def test_parts_come_back_by_name_and_unread_ones_are_passed_over() -> None:
    out = io.BytesIO()
    sealer = Sealer(out, PASSPHRASE, n=2)
    for name, pieces in (("a", [b"1", b"", b"2"]), ("skipped", [b"x" * 100_000]), ("empty", []), ("b", [b"3"])):
        write_part(sealer, name, pieces)
    write_end(sealer)
    sealer.close()
    found = {}
    for name, pieces in read_parts(Opener(io.BytesIO(out.getvalue()), PASSPHRASE)):
        if name != "skipped":
            found[name] = b"".join(pieces)
    assert found == {"a": b"12", "empty": b"", "b": b"3"}
