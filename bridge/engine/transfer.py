"""Files between the disk and WhatsApp, the bridge's side: calls on a session that name a file."""

from dataclasses import dataclass
from pathlib import Path

import trio

from bridge.engine.errors import EngineError, EngineRefused
from bridge.engine.session import Session
from bridge.engine.wire import TOO_LARGE
from bridge.protos import neonize_pb

TRANSFER_TIMEOUT_S = 300.0
"""For a file of 100 MB over a slow line, and for its turn."""
_TYPES = {"image": 0, "video": 1, "audio": 2, "document": 3, "sticker": 0}
"""neonize's `MediaType`, which decides how the file's keys are derived; a sticker is an image there."""


@dataclass(frozen=True, slots=True)
class Uploaded:
    """Where WhatsApp has a file now, and its keys."""

    url: str
    direct_path: str
    media_key: bytes
    sha256: bytes
    encrypted_sha256: bytes
    size_bytes: int


class DownloadFailed(EngineError):
    """WhatsApp did not give us the file:"""

    code = "download_failed"


class DownloadTooLarge(EngineError):
    """WhatsApp gave us more than we take: the message said that the file is smaller."""

    code = "download_too_large"


async def upload(session: Session, path: Path, kind: str, timeout_s: float = TRANSFER_TIMEOUT_S) -> Uploaded:
    """Put a file on WhatsApp's servers; raise `EngineError`. No message exists yet, so a failure is certain."""
    size = (await trio.Path(path).stat()).st_size
    if not size:
        raise EngineRefused("the file is empty")
    reply = await session.call("UploadFile", str(path), _TYPES[kind], size, timeout_s=timeout_s)
    result = neonize_pb.UploadReturnFunction.FromString(reply)
    if result.Error:
        raise EngineError(result.Error)
    answer = result.UploadResponse
    return Uploaded(
        answer.url, answer.DirectPath, answer.MediaKey, answer.FileSHA256, answer.FileEncSHA256, answer.FileLength
    )


async def download(
    session: Session,
    source: bytes,
    path: Path,
    *,
    size_bytes: int,
    limit_bytes: int,
    timeout_s: float = TRANSFER_TIMEOUT_S,
) -> None:
    """Write the file that a serialised `waE2E.Message` names to `path`, which must not exist; raise `EngineError`.

    `size_bytes` is what the message says, and decides whose turn it is; `limit_bytes` bounds what is written. The
    library reads all of it into memory, whatever its size, and checks it against the hash in the message.
    """
    error = await session.call("DownloadFile", source, str(path), limit_bytes, size_bytes, timeout_s=timeout_s)
    if error == TOO_LARGE:
        raise DownloadTooLarge
    if error:
        raise DownloadFailed(error.decode(errors="replace"))
