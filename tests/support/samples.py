"""Small files of every kind, made here: no file of anybody else's lies in the repository."""

import io
import math
import struct
import wave
from functools import cache

import av
from PIL import Image, ImageDraw
from pypdf import PdfWriter


@cache
def picture(format: str = "JPEG", size: tuple[int, int] = (320, 200), mode: str = "RGB", exif: bool = False) -> bytes:
    image = Image.new(mode, size, (200, 30, 30) if mode == "RGB" else (200, 30, 30, 120))
    ImageDraw.Draw(image).ellipse((10, 10, size[0] // 2, size[1] // 2), fill=(20, 20, 220))
    buffer = io.BytesIO()
    more = {}
    if exif:
        turned = Image.Exif()
        turned[0x0112] = 6  # the camera was held upright
        more["exif"] = turned
    image.save(buffer, format, **more)
    return buffer.getvalue()


@cache
def animation(format: str = "GIF", frames: int = 5) -> bytes:
    images = [Image.new("RGB", (101, 67), (40 * number % 255, 90, 10)) for number in range(frames)]
    buffer = io.BytesIO()
    images[0].save(buffer, format, save_all=True, append_images=images[1:], duration=200, loop=0)
    return buffer.getvalue()


@cache
def video(seconds: int = 2, size: tuple[int, int] = (160, 96)) -> bytes:
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as target:
        stream = target.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        for number in range(10 * seconds):
            shown = Image.new("RGB", size, (number * 12 % 255, 100, 50))
            target.mux(stream.encode(av.VideoFrame.from_image(shown)))
        target.mux(stream.encode(None))
    return buffer.getvalue()


def tone(seconds: float, hz: int = 16_000, *, rising: bool = False) -> bytes:
    """Return 16-bit mono samples of a tone; a rising one begins silent."""
    count = int(seconds * hz)
    return b"".join(
        struct.pack("<h", int(12_000 * (number / count if rising else 1) * math.sin(number * 0.17)))
        for number in range(count)
    )


@cache
def wav(seconds: float = 3, *, rising: bool = False) -> bytes:
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes(tone(seconds, rising=rising))
    return buffer.getvalue()


@cache
def sound(format: str = "mp3", codec: str = "libmp3lame", seconds: float = 3, layout: str = "stereo") -> bytes:
    buffer = io.BytesIO()
    with av.open(io.BytesIO(wav(seconds)), "r") as source, av.open(buffer, "w", format=format) as target:
        rate = 48_000
        stream = target.add_stream(codec, rate=rate, layout=layout)
        resampler = av.AudioResampler(stream.codec_context.format or "s16", layout, rate)
        for frame in [*source.decode(audio=0), None]:
            for part in resampler.resample(frame):
                part.pts = None
                target.mux(stream.encode(part))
        target.mux(stream.encode(None))
    return buffer.getvalue()


@cache
def pdf(pages: int = 3) -> bytes:
    writer = PdfWriter()
    for _ in range(pages):
        writer.add_blank_page(200, 200)
    writer.add_metadata({"/Title": "Offer"})
    buffer = io.BytesIO()
    writer.write(buffer)
    return buffer.getvalue()
