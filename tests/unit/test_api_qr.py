"""Drawings of QR codes: exact sizes, whole modules, the same code in every form."""

import struct
import zlib

import pytest

from bridge.api.qr import QUIET_ZONE, Drawing, QrDrawer, draw

CODE = "2@" + "AbCdEf012345" * 18 + ",key,key,key"


def pixels(png: bytes) -> list[list[int]]:
    """Return the rows of a one-bit PNG, 1 for black; a small decoder of our own, for none is installed."""
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    position, data, size = 8, b"", 0
    while position < len(png):
        (length,) = struct.unpack(">I", png[position : position + 4])
        kind, body = png[position + 4 : position + 8], png[position + 8 : position + 8 + length]
        assert struct.unpack(">I", png[position + 8 + length : position + 12 + length])[0] == zlib.crc32(kind + body)
        if kind == b"IHDR":
            width, height, depth, colour = struct.unpack(">IIBB", body[:10])
            assert (width, depth, colour) == (height, 1, 0)
            size = width
        data += body if kind == b"IDAT" else b""
        position += 12 + length
    raw, line = zlib.decompress(data), 1 + -(-size // 8)
    assert len(raw) == line * size
    bits = ["".join(f"{byte:08b}" for byte in raw[y * line + 1 : (y + 1) * line]) for y in range(size)]
    return [[1 - int(bit) for bit in row[:size]] for row in bits]


def modules(image: list[list[int]], count: int) -> tuple[bytes, ...]:
    scale = len(image) // count
    start = (len(image) - count * scale) // 2 + scale // 2
    return tuple(bytes(image[start + y * scale][start + x * scale] for x in range(count)) for y in range(count))


@pytest.mark.parametrize("size_px", [256, 300, 1024, 77])
def test_a_png_has_exactly_the_size_asked_for_and_shows_every_module(size_px: int) -> None:
    drawing = draw(CODE)
    image = pixels(drawing.png(size_px))
    assert len(image) == size_px
    assert modules(image, len(drawing.rows)) == drawing.rows


def test_a_png_never_has_less_than_a_pixel_per_module() -> None:
    drawing = draw(CODE)
    assert len(pixels(drawing.png(10))) == len(drawing.rows)


def test_the_quiet_zone_is_white() -> None:
    drawing = draw(CODE)
    assert not any(any(row) for row in drawing.rows[:QUIET_ZONE])
    assert not any(any(row[:QUIET_ZONE]) for row in drawing.rows)
    assert drawing.rows[QUIET_ZONE][QUIET_ZONE : QUIET_ZONE + 7] == bytes([1] * 7)


def test_svg_and_text_show_the_same_modules() -> None:
    drawing = Drawing((b"\1\0", b"\0\1"))
    assert drawing.text() == "▄▀\n"
    assert drawing.svg().count(b"h1v1h-1z") == 2
    assert b'viewBox="0 0 2 2"' in drawing.svg()


def test_text_pads_an_odd_last_row_with_white() -> None:
    assert Drawing((b"\1\1\1",) * 3).text() == "   \n▄▄▄\n"


async def test_a_code_is_drawn_once_and_old_ones_are_forgotten() -> None:
    drawer = QrDrawer(keep=2)
    first = await drawer.draw("one")
    assert await drawer.draw("one") is first
    await drawer.draw("two")
    await drawer.draw("three")
    assert await drawer.draw("one") is not first
