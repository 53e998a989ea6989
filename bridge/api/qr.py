"""Draws QR codes: as PNG of an exact size, which the library cannot do, as SVG and as text for a terminal."""

import io
import struct
import zlib
from collections import OrderedDict
from dataclasses import dataclass

import segno
import trio

DEFAULT_PX = 256
"""The original's size."""
QUIET_ZONE = 4
"""Modules of white around the code that scanners need (ISO/IEC 18004, 9.1)."""


@dataclass(frozen=True, slots=True)
class Drawing:
    """A code as rows of modules, the quiet zone included: 1 is black."""

    rows: tuple[bytes, ...]

    def png(self, size_px: int) -> bytes:
        """Return a square PNG with `size_px` pixels on each side, or as many more as one pixel per module needs.

        Modules are whole pixels, or a scanner sees some of them wider; what is left over is white border.
        """
        modules = len(self.rows)
        scale = max(1, size_px // modules)
        size = max(size_px, modules)
        before = (size - modules * scale) // 2
        after = size - modules * scale - before
        white = b"\0" + _pack(b"\0" * size)
        lines = [white] * before
        for row in self.rows:
            pixels = b"".join(bytes([module]) * scale for module in row)
            lines += [b"\0" + _pack(b"\0" * before + pixels + b"\0" * after)] * scale
        lines += [white] * after
        header = struct.pack(">IIBBBBB", size, size, 1, 0, 0, 0, 0)  # one bit of grey
        return (
            b"\x89PNG\r\n\x1a\n"
            + _chunk(b"IHDR", header)
            + _chunk(b"IDAT", zlib.compress(b"".join(lines), 9))
            + _chunk(b"IEND", b"")
        )

    def svg(self) -> bytes:
        """Return an SVG that scales to any size."""
        size = len(self.rows)
        path = "".join(f"M{x} {y}h1v1h-1z" for y, row in enumerate(self.rows) for x, module in enumerate(row) if module)
        out = io.StringIO()
        out.write(f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {size} {size}" shape-rendering="crispEdges">')
        out.write(f'<path fill="#fff" d="M0 0h{size}v{size}h-{size}z"/><path d="{path}"/></svg>\n')
        return out.getvalue().encode()

    def text(self) -> str:
        """Return lines of half blocks, two rows of modules each, for a terminal with a dark background."""
        blocks = {(0, 0): "█", (0, 1): "▀", (1, 0): "▄", (1, 1): " "}
        padded = [*self.rows, bytes(len(self.rows))]
        pairs = zip(padded[0:-1:2], padded[1::2], strict=False)
        lines = ("".join(blocks[a, b] for a, b in zip(upper, lower, strict=True)) for upper, lower in pairs)
        return "\n".join(lines) + "\n"


class QrDrawer:
    """Draws each code once: drawing costs tens of milliseconds, and a page asks for the same code every second."""

    def __init__(self, keep: int = 64) -> None:
        self._keep = keep
        self._drawn: OrderedDict[str, Drawing] = OrderedDict()
        self._one_thread = trio.CapacityLimiter(1)

    async def draw(self, code: str) -> Drawing:
        """Return the drawing of `code`, made in a thread if it is new."""
        drawing = self._drawn.get(code)
        if drawing is None:
            drawing = await trio.to_thread.run_sync(draw, code, limiter=self._one_thread)
            self._drawn[code] = drawing
            while len(self._drawn) > self._keep:
                self._drawn.popitem(last=False)
        return drawing


def draw(code: str) -> Drawing:
    """Return `code` as modules, with the error correction that the original uses (medium)."""
    symbol = segno.make(code, error="m", micro=False, boost_error=False)
    return Drawing(tuple(bytes(row) for row in symbol.matrix_iter(border=QUIET_ZONE)))


def _pack(pixels: bytes) -> bytes:
    """Return eight pixels per byte, leftmost in the highest bit; in grey 1 is white, so that modules are inverted."""
    digits = pixels.translate(bytes([49, 48]) + bytes(254)).decode("ascii")
    width = -(-len(digits) // 8) * 8
    return int(digits.ljust(width, "1"), 2).to_bytes(width // 8, "big")


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
