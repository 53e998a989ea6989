"""Videos, by FFmpeg's libraries: what is shown before they play, and animated pictures as videos."""

from fractions import Fraction

import av
from PIL import Image

from bridge.media.decode import pictures
from bridge.media.decode.unsuitable import Unsuitable
from bridge.media.jobs import Job, Seen

FRAMES_MAX = 1_000
SIDE_MAX = 1_280
MILLISECOND = Fraction(1, 1000)
"""In which GIFs count."""


def video(job: Job) -> Seen:
    """Take its first picture, and measure it."""
    with open(job.path, "rb") as file, av.open(file, "r") as container:  # noqa: PTH123 - a path as text
        if not container.streams.video:
            raise Unsuitable("it has no picture")
        frame = next(container.decode(video=0), None)
        if frame is None:
            raise Unsuitable("it has no picture")
        first = frame.to_image()  # type: ignore[no-untyped-call]
        if frame.rotation:
            first = first.rotate(frame.rotation, expand=True)
        seconds = round((container.duration or 0) / av.time_base)
        return Seen(
            width=first.width, height=first.height, duration_s=max(1, seconds), thumbnail=pictures.thumbnail(first)
        )


def gif(job: Job) -> Seen:
    """Make an MP4 of an animated picture: what WhatsApp calls a GIF is a video that plays by itself."""
    if job.mime_type != "image/gif":
        return video(job)
    with pictures.opened(job.path) as picture:
        count = getattr(picture, "n_frames", 1)
        if count > FRAMES_MAX:
            raise Unsuitable(f"it has {count} frames, of which {FRAMES_MAX} are allowed")
        size = _even(picture.size)
        at_ms = 0
        with av.open(job.target, "w", format="mp4") as target:
            stream = target.add_stream("libx264", rate=25, options={"crf": "28", "preset": "veryfast"})
            stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
            stream.codec_context.time_base = stream.time_base = MILLISECOND
            for number in range(count):
                picture.seek(number)
                shown = av.VideoFrame.from_image(_on_black(picture, size))  # type: ignore[no-untyped-call]
                shown.pts, shown.time_base = at_ms, MILLISECOND
                target.mux(stream.encode(shown))
                at_ms += max(20, int(picture.info.get("duration", 100)))
            target.mux(stream.encode(None))
        picture.seek(0)
        return Seen(
            "video/mp4",
            width=size[0],
            height=size[1],
            duration_s=max(1, round(at_ms / 1000)),
            thumbnail=pictures.thumbnail(picture),
        )


def _even(size: tuple[int, int]) -> tuple[int, int]:
    """Return a size that the codec takes, not larger than `SIDE_MAX`."""
    scale = min(1.0, SIDE_MAX / max(size))
    width, height = (max(2, int(side * scale) // 2 * 2) for side in size)
    return width, height


def _on_black(picture: Image.Image, size: tuple[int, int]) -> Image.Image:
    return picture.convert("RGB").resize(size)
