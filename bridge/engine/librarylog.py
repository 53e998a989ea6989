"""What the library warns of, as events in our own log: without anybody's data, and not more than somebody can read.

The files of the hosts keep every line as it is, see hostlog.py.
"""

import re
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import structlog

log = structlog.get_logger()

WINDOW_S = 60.0
LINES_PER_INSTANCE, LINES_PER_HOST = 5, 30
"""In one window. The same line is told once in it; what is left out is counted on the next line of the instance."""
TEXT_CHARACTERS = 200

_LINE = re.compile(r"whatsmeow (?P<level>WARN|ERROR) (?P<instance>\S+) (?P<part>\S*): (?P<text>.*)")
_DATA = re.compile(
    r"<.*"  # a stanza, to the end of the line
    r"|\"(?:[^\"\\]|\\.)*(?:\"|$)"  # what Go quotes
    r"|\{.*\}?|\[.*\]?"  # what Go prints of structures and bytes
    r"|\S*\d{4}\S*|\S*@\S*"  # numbers, addresses, most ids
    r"|(?=[\w+/=-]*\d)[\w+/=-]{8,}|[\w+/=-]{32,}"  # keys, hashes, other ids
)


@dataclass(frozen=True, slots=True)
class Line:
    """One warning or error of the library; `text` has an ellipsis for everything that may be somebody's."""

    error: bool
    instance: str
    part: str
    text: str


def read(line: str) -> Line | None:
    """Return what a host's line says when it is a warning or an error of the library."""
    match = _LINE.fullmatch(line)
    if match is None:
        return None
    return Line(match["level"] == "ERROR", match["instance"], match["part"], mask(match["text"]))


def mask(text: str) -> str:
    """Return `text` with an ellipsis in the place of all that is not the library's own words."""
    return _DATA.sub("…", text)[:TEXT_CHARACTERS]


class Limiter:
    """Decides which lines of one host are told."""

    def __init__(self) -> None:
        self._until = float("-inf")
        self._told: set[Line] = set()
        self._by_instance: Counter[str] = Counter()
        self._left_out: Counter[str] = Counter()

    def admit(self, line: Line, now: float) -> int | None:
        """Return how many lines of the instance were left out since its last one, or None to leave this one out."""
        if now >= self._until:
            self._until = now + WINDOW_S
            self._told.clear()
            self._by_instance.clear()
        full = len(self._told) >= LINES_PER_HOST or self._by_instance[line.instance] >= LINES_PER_INSTANCE
        if full or line in self._told:
            self._left_out[line.instance] += 1
            return None
        self._told.add(line)
        self._by_instance[line.instance] += 1
        return self._left_out.pop(line.instance, 0)


class LibraryLog:
    """Tells what the library of one host warns of, whichever process it is; `clock` is monotonic, in seconds."""

    def __init__(self, host: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._host = host
        self._clock = clock
        self._limiter = Limiter()

    def take(self, text: str) -> None:
        """Take one line that the host wrote."""
        line = read(text)
        if line is None or (left_out := self._limiter.admit(line, self._clock())) is None:
            return
        tell = log.error if line.error else log.warning
        fields = {"left_out": left_out} if left_out else {}
        tell("engine.library", host=self._host, instance=line.instance, part=line.part, text=line.text, **fields)
