"""The base of all errors of the bridge, and those that belong to no single package."""

from typing import ClassVar


class BridgeError(Exception):
    """The bridge could not do what was asked.

    The docstring of a subclass is its message. `code` is for machines, `retryable` says whether the same request can
    succeed later, `certain` says whether it is known that nothing happened at WhatsApp.
    """

    code: ClassVar[str] = "internal"
    status: ClassVar[int] = 500
    retryable: ClassVar[bool] = False
    certain: ClassVar[bool] = True

    def __init__(self, detail: str = "", **fields: object) -> None:
        self.fields = fields
        head = (type(self).__doc__ or type(self).__name__).strip().splitlines()[0]
        super().__init__(f"{head} {detail}".strip())
