"""Audio and voice notes, by FFmpeg's libraries."""

import array
from collections.abc import Iterator

import av
from av.audio.resampler import AudioResampler

from bridge.media.decode.unsuitable import Unsuitable
from bridge.media.jobs import Job, Seen

BARS = 64
"""Of the wave that a voice note shows."""
OPUS_HZ = 48_000
OPUS_BITS_S = 32_000
WAVE_HZ = 4_000
"""Enough for an outline, and a twelfth of the work."""
BLOCK = 200
"""Samples of the outline that become one number: 50 ms."""
SECONDS_MAX = 4 * 3600


def audio(job: Job) -> Seen:
    """Measure how long it plays."""
    with open(job.path, "rb") as file, av.open(file, "r") as container:  # noqa: PTH123 - a path as text
        if not container.streams.audio:
            raise Unsuitable("it has no sound")
        return Seen(duration_s=_announced_s(container) or _played(container))


def voice(job: Job) -> Seen:
    """Make Opus in Ogg, mono, which is all that phones play as a voice note; draw its wave, and measure it."""
    with open(job.path, "rb") as file, av.open(file, "r") as container:  # noqa: PTH123
        if not container.streams.audio:
            raise Unsuitable("it has no sound")
        stream = container.streams.audio[0]
        fits = container.format.name == "ogg" and stream.codec_context.name in ("opus", "libopus")
        fits = fits and stream.codec_context.channels == 1
        if fits:
            loudness, samples = _outline(container, None)
        else:
            with av.open(job.target, "w", format="ogg") as target:
                loudness, samples = _outline(container, target)
    seconds = max(1, round(samples / WAVE_HZ))
    return Seen("" if fits else "audio/ogg; codecs=opus", duration_s=seconds, waveform=_bars(loudness))


def _announced_s(container: "av.container.InputContainer") -> int:
    return max(1, round(container.duration / av.time_base)) if container.duration else 0


def _played(container: "av.container.InputContainer") -> int:
    """Return the seconds of a stream that does not say how long it is."""
    samples, rate = 0, 1
    for frame in container.decode(audio=0):
        samples, rate = samples + frame.samples, frame.sample_rate
        if samples > SECONDS_MAX * rate:
            raise Unsuitable("it plays too long")
    return max(1, round(samples / rate))


def _outline(
    container: "av.container.InputContainer", target: "av.container.OutputContainer | None"
) -> tuple[list[int], int]:
    """Return the loudness of each block and the number of samples at `WAVE_HZ`; encode into `target` meanwhile."""
    outline = AudioResampler("s16", "mono", WAVE_HZ)
    encode = None
    if target is not None:
        stream = target.add_stream("libopus", rate=OPUS_HZ, layout="mono", options={"application": "voip"})
        stream.bit_rate = OPUS_BITS_S
        encode = (stream, AudioResampler("s16", "mono", OPUS_HZ))
    loudness: list[int] = []
    rest = array.array("h")
    samples = 0
    for frame in _frames(container):
        for low in outline.resample(frame):
            rest.frombytes(bytes(low.planes[0])[: low.samples * 2])
            samples += low.samples
        if samples > SECONDS_MAX * WAVE_HZ:
            raise Unsuitable("it plays too long")
        while len(rest) >= BLOCK:
            loudness.append(sum(map(abs, rest[:BLOCK])) // BLOCK)
            del rest[:BLOCK]
        if encode is not None and target is not None:
            for high in encode[1].resample(frame):
                high.pts = None
                target.mux(encode[0].encode(high))
    if rest:
        loudness.append(sum(map(abs, rest)) // len(rest))
    if encode is not None and target is not None:
        target.mux(encode[0].encode(None))
    if not samples:
        raise Unsuitable("it has no sound")
    return loudness, samples


def _frames(container: "av.container.InputContainer") -> "Iterator[av.AudioFrame | None]":
    """Return the frames and then None, which empties the resamplers."""
    for frame in container.decode(audio=0):
        frame.pts = None
        yield frame
    yield None


def _bars(loudness: list[int]) -> bytes:
    """Return `BARS` numbers from 0 to 100, the loudest 100."""
    count = len(loudness)
    bars = []
    for bar in range(BARS):
        part = loudness[bar * count // BARS : max((bar + 1) * count // BARS, bar * count // BARS + 1)]
        bars.append(sum(part) / len(part) if part else 0.0)
    loudest = max(bars) or 1.0
    return bytes(round(100 * bar / loudest) for bar in bars)
