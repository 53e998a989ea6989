"""What an engine host writes to stderr: scrubbed of secrets, limited in size, and kept where an operator looks."""

import re
from collections import deque
from collections.abc import Callable, Iterable
from pathlib import Path

TAIL_LINES = 40
FILE_BYTES = 2 * 1024 * 1024
LINE_CHARACTERS = 2000
_URL = re.compile(r"postgres(?:ql)?:/+[^\s\"']+")
_PASSWORD = re.compile(r"(password=)\S+", re.IGNORECASE)


class Scrubber:
    """Takes the secrets out of a text."""

    def __init__(self, secrets: Iterable[str]) -> None:
        self._secrets = sorted({secret for secret in secrets if len(secret) >= 4}, key=len, reverse=True)

    def __call__(self, text: str) -> str:
        """Return `text` without any of the secrets, and without anything that looks like a database URL."""
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return _PASSWORD.sub(r"\1***", _URL.sub("postgres://***", text))


class HostLog:
    """Cuts bytes into lines, keeps the last ones in memory and all of them in a file of limited size, rotated once.

    `on_line` gets each, without secrets.
    """

    def __init__(
        self,
        scrub: Scrubber,
        path: Path | None,
        *,
        file_bytes: int = FILE_BYTES,
        on_line: Callable[[str], None] | None = None,
    ) -> None:
        self._scrub = scrub
        self._path = path
        self._file_bytes = file_bytes
        self._on_line = on_line
        self._rest = b""
        self.tail: deque[str] = deque(maxlen=TAIL_LINES)

    def feed(self, data: bytes) -> None:
        """Take what arrived; a line that never ends is cut."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > 4 * LINE_CHARACTERS:
            lines.append(self._rest)
            self._rest = b""
        self._keep(lines)

    def finish(self) -> None:
        """Keep the last line too, though nothing ended it."""
        if self._rest:
            self._keep([self._rest])
            self._rest = b""

    def _keep(self, lines: list[bytes]) -> None:
        texts = [self._scrub(line.decode(errors="replace"))[:LINE_CHARACTERS] for line in lines]
        self.tail.extend(texts)
        if self._on_line is not None:
            for text in texts:
                self._on_line(text)
        if self._path is None or not texts:
            return
        if self._path.exists() and self._path.stat().st_size > self._file_bytes:
            self._path.replace(self._path.with_suffix(".old.log"))
        with self._path.open("a") as file:
            file.writelines(text + "\n" for text in texts)

    def cause(self) -> str:
        """Return the line that most likely says why the host died, empty when none does."""
        for text in self.tail:
            if text.startswith(("fatal error:", "panic:", "SIG", "engine host gives up:")):
                return text
        return self.tail[-1] if self.tail else ""
