"""What is in a backup: named parts, one after the other, each a run of pieces that ends with an empty one."""

import struct
from collections.abc import Iterable, Iterator

from bridge.backup.seal import BadBackup, Opener, Sealer

_NAME = struct.Struct(">H")
_PIECE = struct.Struct(">I")
PIECE_MAX = 16 * 1024 * 1024
END = ""
"""The name of what is behind the last part."""


def write_part(out: Sealer, name: str, pieces: Iterable[bytes | bytearray | memoryview]) -> int:
    """Write a part and return how many bytes it has."""
    encoded, size = name.encode(), 0
    out.write(_NAME.pack(len(encoded)) + encoded)
    for piece in pieces:
        for begin in range(0, len(piece), PIECE_MAX):
            part = piece[begin : begin + PIECE_MAX]
            out.write(_PIECE.pack(len(part)))
            out.write(part)
            size += len(part)
    out.write(_PIECE.pack(0))
    return size


def write_end(out: Sealer) -> None:
    """Say that nothing follows."""
    out.write(_NAME.pack(0))


def read_parts(source: Opener) -> Iterator[tuple[str, Iterator[bytes]]]:
    """Yield each part's name and pieces; pieces that were not read are passed over."""
    while True:
        length = _NAME.unpack(source.exactly(_NAME.size))[0]
        name = source.exactly(length).decode()
        if name == END:
            return
        pieces = _pieces(source)
        yield name, pieces
        for _ in pieces:
            pass


def _pieces(source: Opener) -> Iterator[bytes]:
    while size := _PIECE.unpack(source.exactly(_PIECE.size))[0]:
        if size > PIECE_MAX:
            raise BadBackup("it is damaged.")
        yield source.exactly(size)
