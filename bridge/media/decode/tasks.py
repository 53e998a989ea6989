"""What is found out about a file, by task."""

from collections.abc import Callable, Mapping

import av.error
from PIL import UnidentifiedImageError
from PIL.Image import DecompressionBombError

from bridge.media.decode import pictures, sound, video
from bridge.media.decode.unsuitable import Unsuitable
from bridge.media.jobs import Job, Seen

__all__ = ["Unsuitable", "do"]


def do(job: Job) -> Seen:
    """Do a job; raise `Unsuitable` with a reason for the caller of the API."""
    try:
        return _TASKS[job.task](job)
    except (UnidentifiedImageError, DecompressionBombError) as error:
        raise Unsuitable(f"it cannot be decoded ({type(error).__name__})") from error
    except (av.error.FFmpegError, EOFError, SyntaxError, ValueError, IndexError, OSError) as error:
        raise Unsuitable(f"it cannot be decoded ({type(error).__name__})") from error


def document(job: Job) -> Seen:
    """Count the pages of a PDF; of another document nothing is known, which is no reason not to send it."""
    if job.mime_type.startswith("image/"):
        try:
            return pictures.look(job.path)
        except (UnidentifiedImageError, DecompressionBombError, OSError, SyntaxError, ValueError):
            return Seen()
    if job.mime_type != "application/pdf":
        return Seen()
    from pypdf import PdfReader  # noqa: PLC0415 - only a PDF needs it
    from pypdf.errors import PyPdfError  # noqa: PLC0415

    try:
        reader = PdfReader(job.path)
        title = (reader.metadata.title if reader.metadata else None) or ""
        return Seen(pages=len(reader.pages), title=str(title)[:200])
    except (PyPdfError, ValueError, KeyError, TypeError, AttributeError, RecursionError, OSError):
        return Seen()


_TASKS: Mapping[str, Callable[[Job], Seen]] = {
    "image": pictures.image,
    "sticker": pictures.sticker,
    "video": video.video,
    "gif": video.gif,
    "audio": sound.audio,
    "voice": sound.voice,
    "document": document,
}
