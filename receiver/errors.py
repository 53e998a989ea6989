"""The receiver's errors. What a client may see carries an HTTP status and a code; the docstring is the message."""

from collections.abc import Iterable
from typing import ClassVar


class ReceiverError(Exception):
    """The receiver could not do what was asked."""

    def __init__(self, detail: str = "") -> None:
        head = (type(self).__doc__ or type(self).__name__).strip().splitlines()[0]
        self.detail = detail
        super().__init__(f"{head} {detail}".strip())


class ConfigError(ReceiverError):
    """The configuration is not usable:"""


class RequestError(ReceiverError):
    """The request cannot be answered as asked."""

    status: ClassVar[int] = 400
    code: ClassVar[str] = "bad_request"
    retryable: ClassVar[bool] = False
    headers: tuple[tuple[str, str], ...] = ()


class MalformedRequest(RequestError):
    """The request is not well-formed HTTP/1.1."""

    code = "malformed_request"


class HeadTooLarge(RequestError):
    """The request line and headers are larger than 16 kB."""

    status = 431
    code = "head_too_large"


class BodyTooLarge(RequestError):
    """The body is larger than 1 MB."""

    status = 413
    code = "body_too_large"


class BadBody(RequestError):
    """The body is not a JSON object in UTF-8."""

    code = "bad_body"


class BadQuery(RequestError):
    """The query is not understood:"""

    code = "bad_query"


class NotFound(RequestError):
    """There is nothing at this path."""

    status = 404
    code = "not_found"


class NoHandler(NotFound):
    """There is no handler of this name here; GET /handlers names them."""

    code = "handler_not_found"


class NoKey(RequestError):
    """A key is needed: RECEIVER_API_KEY, as `Authorization: Bearer` or `X-Api-Key`."""

    status = 401
    code = "unauthorized"
    headers = (("www-authenticate", "Bearer"),)


class Closed(RequestError):
    """Events are not shown: this receiver listens to others than this machine and has no RECEIVER_API_KEY."""

    status = 403
    code = "no_key_configured"


class ForeignHost(RequestError):
    """Without RECEIVER_API_KEY events are shown under this machine's own addresses only, not under that name."""

    status = 403
    code = "foreign_host"


class BadRetry(RequestError):
    """The body is JSON with `handler`, and `webhook_id` for one event; its content-type is application/json."""

    code = "bad_retry"


class TooManyStreams(RequestError):
    """As many as may be are following the events already."""

    status = 503
    code = "too_many_streams"
    retryable = True
    headers = (("retry-after", "5"),)


class WrongMethod(RequestError):
    """The path exists, the method does not."""

    status = 405
    code = "method_not_allowed"

    def __init__(self, allowed: Iterable[str]) -> None:
        names = ", ".join(sorted(allowed))
        self.headers = (("allow", names),)
        super().__init__(f"Allowed here: {names}.")


class Unverified(RequestError):
    """The webhook is not verified, nothing was stored."""

    status = 401
    code = "unverified"


class BadHeader(Unverified):
    """The webhook is not verified: a header is missing or not well-formed:"""

    code = "bad_webhook_header"


class StaleTimestamp(Unverified):
    """The webhook is not verified: its timestamp is more than 5 minutes off our clock."""

    code = "stale_timestamp"


class BadSignature(Unverified):
    """The webhook is not verified: no signature matches."""

    code = "bad_signature"


class Unavailable(RequestError):
    """The receiver cannot answer now, try again:"""

    status = 503
    code = "unavailable"
    retryable = True
    headers = (("retry-after", "1"),)


class StoreUnavailable(Unavailable):
    """The database does not answer; nothing is lost when the webhook is sent again."""

    code = "store_unavailable"


class NotStored(RequestError):
    """The database refused this webhook:"""

    status = 500
    code = "not_stored"
    retryable = True


class ConnectionLost(ReceiverError):
    """The connection to PostgreSQL is gone:"""


class QueryFailed(ReceiverError):
    """PostgreSQL refused a statement:"""

    def __init__(self, sqlstate: str, detail: str) -> None:
        self.sqlstate = sqlstate
        super().__init__(f"{detail} ({sqlstate})")
