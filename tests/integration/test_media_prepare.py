"""What a recipient's phone shows of a file: found out by a real child process, on files made here."""

import io
import sys
from pathlib import Path

import av
import pytest
import trio
from PIL import Image

from bridge.media import jobs
from bridge.media.errors import MediaUnsuitable
from bridge.media.prepare import Preparer
from bridge.media.sniff import sniff
from tests.support import samples


async def prepare(tmp_path: Path, task: jobs.Task, data: bytes, name: str = "") -> tuple[jobs.Seen, bytes]:
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(data)
    target.unlink(missing_ok=True)
    seen = await Preparer().prepare(task, source, sniff(data[:4096], name), target)
    return seen, target.read_bytes() if target.exists() else b""


def shown(jpeg: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(jpeg))
    image.load()
    return image


async def test_a_photo_has_its_size_as_it_is_held_and_a_small_picture(tmp_path: Path) -> None:
    seen, converted = await prepare(tmp_path, "image", samples.picture(exif=True))
    assert (seen.width, seen.height, seen.converted_to, converted) == (200, 320, "", b"")
    small = shown(seen.thumbnail)
    assert (small.format, small.size) == ("JPEG", (125, 200))
    assert len(seen.thumbnail) < 10_000


async def test_a_picture_that_phones_do_not_show_becomes_a_jpeg(tmp_path: Path) -> None:
    seen, converted = await prepare(tmp_path, "image", samples.picture("WEBP", mode="RGBA"))
    assert (seen.converted_to, shown(converted).format, shown(converted).size) == ("image/jpeg", "JPEG", (320, 200))
    seen, converted = await prepare(tmp_path, "image", samples.picture("PNG", mode="RGBA"))
    assert (seen.converted_to, converted) == ("", b"")


async def test_a_video_has_a_first_picture_a_size_and_a_length(tmp_path: Path) -> None:
    seen, _ = await prepare(tmp_path, "video", samples.video())
    assert (seen.width, seen.height, seen.duration_s) == (160, 96, 2)
    assert shown(seen.thumbnail).size == (160, 96)


async def test_an_animated_gif_becomes_a_video(tmp_path: Path) -> None:
    seen, converted = await prepare(tmp_path, "gif", samples.animation())
    assert (seen.converted_to, seen.width, seen.height, seen.duration_s) == ("video/mp4", 100, 66, 1)
    assert sniff(converted[:64]) == "video/mp4"
    with av.open(io.BytesIO(converted), "r") as video:
        assert sum(1 for _ in video.decode(video=0)) == 5
        assert video.streams.video[0].codec_context.name == "h264"


@pytest.mark.parametrize(("format", "codec"), [("mp3", "libmp3lame"), ("adts", "aac"), ("ogg", "libopus")])
async def test_audio_has_its_length(tmp_path: Path, format: str, codec: str) -> None:
    seen, _ = await prepare(tmp_path, "audio", samples.sound(format, codec))
    assert abs(seen.duration_s - 3) <= 1


async def test_a_voice_note_becomes_opus_in_ogg_mono_with_its_wave(tmp_path: Path) -> None:
    seen, converted = await prepare(tmp_path, "voice", samples.wav(4, rising=True))
    assert (seen.converted_to, seen.duration_s) == ("audio/ogg; codecs=opus", 4)
    with av.open(io.BytesIO(converted), "r") as container:
        context = container.streams.audio[0].codec_context
        assert (container.format.name, context.name, context.channels, context.sample_rate) == (
            "ogg", "opus", 1, 48_000,
        )  # fmt: skip
        played = sum(frame.samples for frame in container.decode(audio=0)) / 48_000
    assert abs(played - 4) < 0.2
    bars = list(seen.waveform)
    assert len(bars) == 64
    assert max(bars) == 100
    assert bars[:8] < bars[24:32] < bars[-8:]


async def test_a_voice_note_that_is_one_already_stays_as_it_is(tmp_path: Path) -> None:
    seen, converted = await prepare(tmp_path, "voice", samples.sound("ogg", "libopus", layout="mono"))
    assert (seen.converted_to, converted, seen.duration_s, len(seen.waveform)) == ("", b"", 3, 64)
    seen, converted = await prepare(tmp_path, "voice", samples.sound("ogg", "libopus"))
    assert seen.converted_to, "stereo is none"
    assert converted


async def test_a_pdf_has_pages_and_another_document_need_not_be_understood(tmp_path: Path) -> None:
    seen, _ = await prepare(tmp_path, "document", samples.pdf())
    assert (seen.pages, seen.title) == (3, "Offer")
    seen, _ = await prepare(tmp_path, "document", b"%PDF-1.4 and then nothing that makes sense")
    assert seen == jobs.Seen()
    seen, _ = await prepare(tmp_path, "document", b"PK\x03\x04", "a.docx")
    assert seen == jobs.Seen()


async def test_a_sticker_is_a_webp_of_512_by_512(tmp_path: Path) -> None:
    seen, converted = await prepare(tmp_path, "sticker", samples.picture("PNG", mode="RGBA"))
    assert seen.converted_to == "image/webp"
    assert (shown(converted).format, shown(converted).size, seen.animated) == ("WEBP", (512, 512), False)
    assert shown(converted).convert("RGBA").getpixel((256, 2))[3] == 0, "what the picture does not fill is clear"
    seen, unchanged = await prepare(tmp_path, "sticker", converted)
    assert (seen.converted_to, unchanged) == ("", b"")
    seen, converted = await prepare(tmp_path, "sticker", samples.animation())
    assert (seen.animated, getattr(shown(converted), "n_frames", 1)) == (True, 5)


@pytest.mark.parametrize(
    ("task", "data"),
    [
        ("image", b"\xff\xd8\xff\xe0 no picture at all"),
        ("image", samples.video()),
        ("video", samples.sound()),
        ("video", b"\0\0\0 ftypisom" + bytes(100)),
        ("audio", samples.video()),
        ("voice", b"ID3\4\0 silence"),
        ("voice", samples.picture()),
        ("sticker", b"RIFF\x10\0\0\0WEBPVP8 "),
        ("gif", b"GIF89a"),
    ],
)
async def test_what_is_not_what_the_task_needs_is_refused_with_a_reason(
    tmp_path: Path, task: jobs.Task, data: bytes
) -> None:
    with pytest.raises(MediaUnsuitable, match=r"not what the call needs: It (cannot|has|takes)"):
        await prepare(tmp_path, task, data)


async def test_a_file_cannot_take_all_memory_or_time(tmp_path: Path) -> None:
    """The bounds hold in the process that decodes: what would take more fails, there alone."""
    code = (
        "from bridge.media.decode.__main__ import confine, MEMORY_BYTES, CPU_S; import resource, signal; confine();"
        "assert resource.getrlimit(resource.RLIMIT_AS) == (MEMORY_BYTES,) * 2;"
        "assert resource.getrlimit(resource.RLIMIT_CPU) == (CPU_S,) * 2;"
        "assert 0 < signal.alarm(0);"
        "bytearray(MEMORY_BYTES)"
    )
    done = await trio.run_process([sys.executable, "-c", code], check=False, capture_stderr=True)
    assert b"MemoryError" in done.stderr
    with pytest.raises(MediaUnsuitable, match="took more than"):
        source = tmp_path / "source"
        source.write_bytes(samples.picture())
        await Preparer(timeout_s=0.01).prepare("image", source, "image/jpeg", tmp_path / "target")
