"""How long a key is good: what it has opened and left open, streams and sockets, ends when it is revoked or expires.

What is open waits in `with tenure.held() as scope:`, which is cancelled at the end of the tenure. A generator must not
yield inside of it: a cancel scope belongs to the task that entered it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from weakref import WeakValueDictionary

import trio

from bridge.domain.ids import KeyId
from bridge.store.rows import KeyRow


class Tenure:
    """The time for which one key may be used; without `expires_at` until it is revoked."""

    def __init__(self, expires_at: datetime | None = None) -> None:
        self._expires_at = expires_at
        self._revoked = False
        self._scopes: set[trio.CancelScope] = set()

    @property
    def over(self) -> bool:
        """Whether the key was revoked or has expired."""
        return self._revoked or (self._expires_at is not None and self._expires_at <= datetime.now(UTC))

    def revoke(self) -> None:
        """End it now, with all that waits."""
        self._revoked = True
        for scope in self._scopes:
            scope.cancel()

    @contextmanager
    def held(self) -> Iterator[trio.CancelScope]:
        """Enter a scope that is cancelled as soon as the key is good no more."""
        with trio.CancelScope() as scope:
            if self._expires_at is not None:
                scope.deadline = trio.current_time() + (self._expires_at - datetime.now(UTC)).total_seconds()
            if self._revoked:
                scope.cancel()
            self._scopes.add(scope)
            try:
                yield scope
            finally:
                self._scopes.discard(scope)


class Tenures:
    """The tenures of the keys that are in use; one that nobody holds is forgotten."""

    def __init__(self) -> None:
        self._open: WeakValueDictionary[KeyId, Tenure] = WeakValueDictionary()

    def of(self, key: KeyRow) -> Tenure:
        """Return the tenure of a key that was found in the store just now, or is believed to be there."""
        tenure = self._open.get(key.id)
        if tenure is None:
            tenure = self._open[key.id] = Tenure(key.expires_at)
        return tenure

    def revoke(self, id: KeyId) -> None:
        """End the tenure of a key that was revoked."""
        tenure = self._open.pop(id, None)
        if tenure is not None:
            tenure.revoke()
