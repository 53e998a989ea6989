"""Does a piece of work once for all who want the same at the same time: a URL that two calls name is fetched once."""

from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import trio

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")


@dataclass(slots=True, eq=False)
class _Flight(Generic[T]):
    landed: trio.Event = field(default_factory=trio.Event)
    results: list[T] = field(default_factory=list)
    error: Exception | None = None


class Flights(Generic[K, T]):
    """Work that is under way, by what it is for. Nothing is remembered once it has ended."""

    def __init__(self) -> None:
        self._flights: dict[K, _Flight[T]] = {}

    async def join(self, key: K, work: Callable[[], Awaitable[T]]) -> T:
        """Return what `work` returns, or raise what it raises: that of whoever began first, as long as they are at it.

        When they are cancelled, somebody who waits begins anew.
        """
        while (other := self._flights.get(key)) is not None:
            await other.landed.wait()
            if other.error is not None:
                raise other.error
            if other.results:
                return other.results[0]
        flight = self._flights[key] = _Flight[T]()
        try:
            result = await work()
        except Exception as error:
            flight.error = error
            raise
        else:
            flight.results.append(result)
            return result
        finally:
            del self._flights[key]
            flight.landed.set()
