"""The QR code that an instance shows at the moment, for any number of readers; reading does not consume it."""

from dataclasses import dataclass
from datetime import UTC, datetime

import trio

QR_CODES, NEXT_QR_S = 6, 20.0
"""How many codes WhatsApp gives a client that wants to be paired, and how long each but the first one lives."""


@dataclass(frozen=True, slots=True)
class QrCode:
    code: str
    """What the phone reads: a link that carries the device's public keys."""
    attempt: int
    """Counts the codes of this pairing from 1."""
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class PairCode:
    """What the phone's owner types in instead of scanning."""

    code: str
    expires_at: datetime
    """At the latest: WhatsApp may have enough of it before."""


class QrBoard:
    """Holds the newest code and wakes whoever waits for one."""

    def __init__(self) -> None:
        self._code: QrCode | None = None
        self._pair_code: PairCode | None = None
        self._attempts = 0
        self._changed = trio.Event()

    @property
    def current(self) -> QrCode | None:
        """The code, unless there is none or it has expired."""
        if self._code is not None and self._code.expires_at <= datetime.now(UTC):
            return None
        return self._code

    @property
    def pair_code(self) -> PairCode | None:
        """The code to type in, unless there is none or it has expired."""
        if self._pair_code is not None and self._pair_code.expires_at <= datetime.now(UTC):
            return None
        return self._pair_code

    @property
    def ends_at(self) -> float | None:
        """When the last QR code of this pairing will have expired, and the pairing with it, in seconds since 1970."""
        if self._code is None:
            return None
        return self._code.expires_at.timestamp() + max(0, QR_CODES - self._code.attempt) * NEXT_QR_S

    def show_pair_code(self, code: str, expires_at: float) -> None:
        """Put up a code to type in."""
        self._pair_code = PairCode(code, datetime.fromtimestamp(expires_at, UTC))
        self._wake()

    def show(self, code: str, expires_at: float) -> None:
        """Put up a newer code; `expires_at` in seconds since 1970."""
        self._attempts += 1
        self._code = QrCode(code, self._attempts, datetime.fromtimestamp(expires_at, UTC))
        self._wake()

    def clear(self) -> None:
        """Take the code down: paired, or pairing ended."""
        self._code, self._pair_code, self._attempts = None, None, 0
        self._wake()

    async def changed(self) -> None:
        """Wait until a code is put up or taken down."""
        await self._changed.wait()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = trio.Event()
