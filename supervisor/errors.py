"""What can go wrong between a supervisor, its children and their callers; each docstring is the error's message."""

from typing import ClassVar


class SupervisorError(Exception):
    """The supervisor could not do what was asked.

    `certain` is true when it is known that the child did nothing with what it was given.
    """

    certain: ClassVar[bool] = True

    def __init__(self, detail: str = "", **fields: object) -> None:
        self.fields = fields
        head = (type(self).__doc__ or type(self).__name__).strip().splitlines()[0]
        super().__init__(f"{head} {detail}".strip())


class NotRunning(SupervisorError):
    """The supervisor is not running, or is stopping: await its run() first."""


class NoSuchChild(SupervisorError):
    """No child has this id."""


class ChildExists(SupervisorError):
    """A child with this id is already there: delete it first, or restart it."""


class StartFailed(SupervisorError):
    """The child did not start: see the cause."""


class IntensityExceeded(SupervisorError):
    """The children ended more often than the restart intensity allows: see the cause for the last of them."""


class ActorDown(SupervisorError):
    """The actor is not running, or ended before it answered."""

    certain: bool  # type: ignore[misc]  # an instance knows it: was the message still in the queue?

    def __init__(self, detail: str = "", *, certain: bool = True, **fields: object) -> None:
        super().__init__(detail, **fields)
        self.certain = certain


class MailboxFull(SupervisorError):
    """The mailbox is full: try again later, or tell your own caller to."""


class DeadlineExceeded(SupervisorError):
    """No answer came in time; the message may still be handled."""

    certain = False


class Shutdown(Exception):
    """Raise it in a child to end with the reason "shutdown": neither a crash nor the end of its work."""


class Ignore(Exception):
    """Raise it in a child before started() to refuse the start: the child is kept, not running, and not retried."""
