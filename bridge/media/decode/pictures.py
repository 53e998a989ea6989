"""Images and stickers, by Pillow."""

import io

from PIL import Image, ImageOps, ImageSequence

from bridge.media.decode.unsuitable import Unsuitable
from bridge.media.jobs import Job, Seen

Image.MAX_IMAGE_PIXELS = 100_000_000
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")
"""What is decoded at all: Pillow knows forty formats, some of which nobody has looked at for years."""
THUMBNAIL_PX = 200
THUMBNAIL_BYTES = 10_000
"""It travels inside of the message, to every device of every recipient."""
STICKER_PX = 512
STICKER_BYTES = 1_000_000
FRAMES_MAX = 120
_SENT_AS_IT_IS = frozenset({"JPEG", "PNG"})


def opened(path: str) -> Image.Image:
    """Open a file as an image of one of `FORMATS`."""
    return Image.open(path, formats=FORMATS)


def thumbnail(picture: Image.Image) -> bytes:
    """Return a small JPEG."""
    small = picture.copy()
    small.thumbnail((THUMBNAIL_PX, THUMBNAIL_PX))
    small = _on_white(small)
    for quality in (70, 50, 30, 10):
        buffer = io.BytesIO()
        small.save(buffer, "JPEG", quality=quality, optimize=True)
        if buffer.tell() <= THUMBNAIL_BYTES:
            break
    return buffer.getvalue()


def look(path: str) -> Seen:
    """Return size and thumbnail, as the picture is meant to be seen."""
    with opened(path) as picture:
        upright = ImageOps.exif_transpose(picture)
        return Seen(width=upright.width, height=upright.height, thumbnail=thumbnail(upright))


def image(job: Job) -> Seen:
    """Look at an image; what is neither JPEG nor PNG becomes a JPEG, which every phone shows."""
    with opened(job.path) as picture:
        upright = ImageOps.exif_transpose(picture)
        seen = Seen(width=upright.width, height=upright.height, thumbnail=thumbnail(upright))
        if picture.format in _SENT_AS_IT_IS:
            return seen
        _on_white(upright).save(job.target, "JPEG", quality=90)
        return Seen("image/jpeg", width=seen.width, height=seen.height, thumbnail=seen.thumbnail)


def sticker(job: Job) -> Seen:
    """Make a WebP of 512 by 512 pixels, animated when the picture is; one that is such a WebP stays as it is."""
    with opened(job.path) as picture:
        frames = getattr(picture, "n_frames", 1)
        animated = frames > 1
        if picture.format == "WEBP" and picture.size == (STICKER_PX, STICKER_PX):
            return Seen(width=STICKER_PX, height=STICKER_PX, animated=animated)
        if frames > FRAMES_MAX:
            raise Unsuitable(f"it has {frames} frames, of which a sticker may have {FRAMES_MAX}")
        squares = [_square(frame) for frame in ImageSequence.Iterator(picture)]
        waits = [int(frame.info.get("duration", 100)) or 100 for frame in ImageSequence.Iterator(picture)]
    for quality in (80, 50, 20):
        buffer = io.BytesIO()
        more = {"save_all": True, "append_images": squares[1:], "duration": waits, "loop": 0} if animated else {}
        squares[0].save(buffer, "WEBP", quality=quality, method=4, **more)
        if buffer.tell() <= STICKER_BYTES:
            break
    else:
        raise Unsuitable(f"as a sticker it would have more than {STICKER_BYTES} bytes")
    with open(job.target, "xb") as file:  # noqa: PTH123 - a path as text
        file.write(buffer.getvalue())
    return Seen("image/webp", width=STICKER_PX, height=STICKER_PX, animated=animated)


def _square(frame: Image.Image) -> Image.Image:
    fitted = ImageOps.contain(ImageOps.exif_transpose(frame).convert("RGBA"), (STICKER_PX, STICKER_PX))
    square = Image.new("RGBA", (STICKER_PX, STICKER_PX))
    square.paste(fitted, ((STICKER_PX - fitted.width) // 2, (STICKER_PX - fitted.height) // 2))
    return square


def _on_white(picture: Image.Image) -> Image.Image:
    if picture.mode in ("RGBA", "LA", "P", "PA") or "transparency" in picture.info:
        white = Image.new("RGBA", picture.size, "white")
        return Image.alpha_composite(white, picture.convert("RGBA")).convert("RGB")
    return picture.convert("RGB")
