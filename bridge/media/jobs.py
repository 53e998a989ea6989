"""What is asked of the process that decodes a file, and what it answers: JSON, one of each per process."""

from typing import Literal

import msgspec

Task = Literal["image", "video", "gif", "audio", "voice", "sticker", "document"]


class Job(msgspec.Struct, frozen=True):
    """Look at the file `path`, which is a `mime_type`; write what has to become another file to `target`."""

    task: Task
    path: str
    mime_type: str
    target: str


class Seen(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a recipient's phone shows of the file; zero and empty where it is not known."""

    converted_to: str = ""
    """The MIME type of what was written to `target`; empty when the file can be sent as it is."""
    width: int = 0
    height: int = 0
    duration_s: int = 0
    pages: int = 0
    title: str = ""
    thumbnail: bytes = b""
    """JPEG."""
    waveform: bytes = b""
    """64 samples from 0 to 100."""
    animated: bool = False


class Refused(msgspec.Struct, frozen=True, tag="refused"):
    """The file is not what the task needs."""

    reason: str


class Done(msgspec.Struct, frozen=True, tag="done"):
    """The answer."""

    seen: Seen


Answer = Refused | Done
encode = msgspec.json.Encoder().encode
read_job = msgspec.json.Decoder(Job).decode
read_answer: "msgspec.json.Decoder[Answer]" = msgspec.json.Decoder(Answer)
