"""Errors of the API and their form: every status from 400 on has a JSON body that says what the caller can do."""

import math
from collections.abc import Mapping
from http.client import responses

import msgspec
import structlog
from werkzeug.exceptions import HTTPException, MethodNotAllowed

from bridge.errors import BridgeError

log = structlog.get_logger()
JSON = "application/json"


class Problem(msgspec.Struct, frozen=True):
    """The body of an error. `error` is a string, as in the original; the other fields are ours."""

    error: str
    code: str
    retryable: bool
    details: Mapping[str, object]
    request_id: str


class ApiError(BridgeError):
    """The request cannot be carried out."""

    code = "bad_request"
    status = 400


class MalformedBody(ApiError):
    """The body is not valid JSON."""

    code = "malformed_json"


class InvalidField(ApiError):
    """A field has a wrong type or value."""

    code = "invalid_field"

    def __init__(self, field: str, text: str) -> None:
        super().__init__(field=field)
        self.args = (f"`{field}` {text}",)


class InvalidRecipientField(InvalidField):
    """The recipient cannot be read."""

    code = "invalid_recipient"


class InstanceMismatch(ApiError):
    """The body, the path and the header X-Instance-Key name different instances; name it once."""

    code = "instance_mismatch"


class InstanceMissing(ApiError):
    """No instance was named; give `instance_key` in the body or the header X-Instance-Key."""

    code = "instance_missing"


class Unauthorized(ApiError):
    """An API key is needed; send it as `Authorization: Bearer <key>` or in the header X-Api-Key, never in the URL."""

    code = "unauthorized"
    status = 401


class UnknownKey(ApiError):
    """This API key is not known or has expired."""

    code = "unauthorized"
    status = 401


class Forbidden(ApiError):
    """This API key does not allow the call."""

    code = "forbidden"
    status = 403


class RateLimited(ApiError):
    """This API key makes too many calls; wait as long as Retry-After says."""

    code = "rate_limited"
    status = 429
    retryable = True


class UnknownKeyId(ApiError):
    """No API key has this id."""

    code = "unknown_key"
    status = 404


class LastAdminKey(ApiError):
    """This is the last key that may make keys; make another one first."""

    code = "last_admin_key"
    status = 409


class UnknownRecipientField(InvalidField):
    """WhatsApp does not know this number."""

    code = "unknown_recipient"
    status = 422


class UnknownContact(ApiError):
    """Neither WhatsApp nor this instance knows anybody by this address."""

    code = "unknown_contact"
    status = 404


class NothingYet(ApiError):
    """No QR code has come yet; call POST /instance/connect first, or ask again."""

    code = "no_qr_code"
    status = 408
    retryable = True


class BodyTooLarge(ApiError):
    """The body is too large; send less."""

    code = "body_too_large"
    status = 413


class UploadTimeout(ApiError):
    """The file did not arrive in time; send it again."""

    code = "request_timeout"
    status = 408
    retryable = True


class RangeNotSatisfiable(ApiError):
    """The range lies behind the end of the file."""

    code = "range_not_satisfiable"
    status = 416


class NotJson(ApiError):
    """The body must be JSON; send Content-Type: application/json."""

    code = "unsupported_media_type"
    status = 415


class SendFailed(ApiError):
    """WhatsApp did not take the message."""

    code = "send_failed"
    status = 502


class NotDeliverable(ApiError):
    """WhatsApp would not show this to the recipient, so it is not sent."""

    code = "not_deliverable"
    status = 422


class UnknownMessage(ApiError):
    """This instance knows no such message in this chat; use the ids of its events, or that a send was answered with."""

    code = "unknown_message"
    status = 404


class NotSupported(ApiError):
    """This part of the request is not supported yet; leave it out:"""

    code = "not_implemented"
    status = 501


class UpgradeRequired(ApiError):
    """This path speaks WebSocket (RFC 6455) over HTTP/1.1 alone; connect with such a client, or use GET /events."""

    code = "upgrade_required"
    status = 426


class TooManyConsumers(ApiError):
    """This API key has as many consumers as it may; use one of their names."""

    code = "too_many_consumers"
    status = 409


class Overloaded(ApiError):
    """Too many requests at the same time; try again."""

    code = "overloaded"
    status = 503
    retryable = True


class OutcomeUnknown(ApiError):
    """It is not known whether the message was sent, and it will not be sent again by itself."""

    code = "send_unknown"
    status = 504
    certain = False


class UnknownDelivery(ApiError):
    """This webhook has no such delivery."""

    code = "unknown_delivery"
    status = 404


class UnknownReplay(ApiError):
    """No replay has this id."""

    code = "unknown_replay"
    status = 404


class UnknownWebhook(ApiError):
    """No webhook has this id."""

    code = "unknown_webhook"
    status = 404


class TimedOut(ApiError):
    """The bridge did not finish in time; what was begun may still happen."""

    code = "timeout"
    status = 504
    retryable = True
    certain = False


_ADVICE: Mapping[int, str] = {
    400: "The request cannot be read; check it against the API's documentation.",
    404: "There is no such path; check the URL and the version of the bridge.",
    405: "This path does not take this method; see the header Allow.",
    408: "The body did not arrive in time; send it again.",
    413: "The body is too large; send less.",
    415: "The body must be JSON; send Content-Type: application/json.",
    429: "Too many requests; wait as long as Retry-After says.",
    431: "The request's headers are too large; send fewer.",
    500: "The bridge made a mistake; its log has the details under this request_id.",
    503: "The bridge cannot answer now; try again.",
}
_CODES: Mapping[int, str] = {
    400: "bad_request",
    404: "not_found",
    405: "method_not_allowed",
    408: "request_timeout",
    413: "body_too_large",
    500: "internal",
}
RETRYABLE_STATUS = frozenset({408, 429, 503})


class Answer(msgspec.Struct, frozen=True):
    """A finished error: what is written to the client."""

    status: int
    body: bytes
    headers: Mapping[str, str]


_encoder = msgspec.json.Encoder(enc_hook=str)


def for_status(status: int, request_id: str, headers: Mapping[str, str] | None = None) -> Answer:
    """Return the answer for an error that has no more to say than its status."""
    phrase = responses.get(status, "Error")
    problem = Problem(
        error=_ADVICE.get(status, f"{phrase}."),
        code=_CODES.get(status, phrase.lower().replace(" ", "_")),
        retryable=status in RETRYABLE_STATUS,
        details={},
        request_id=request_id,
    )
    return Answer(status, _encoder.encode(problem), headers or {})


def for_error(error: BaseException, request_id: str) -> Answer:
    """Return the answer for `error`; one that nobody foresaw is logged and says nothing of the inside."""
    match error:
        case BridgeError():
            return _for_bridge_error(error, request_id)
        case HTTPException(code=int(code)):
            allow = {"Allow": ", ".join(error.valid_methods or ())} if isinstance(error, MethodNotAllowed) else {}
            return for_status(code, request_id, allow)
        case _:
            log.error("http.handler_crashed", request_id=request_id, exc_info=error)
            return for_status(500, request_id)


_HEADERS_OF_STATUS: Mapping[int, Mapping[str, str]] = {
    401: {"WWW-Authenticate": "Bearer"},
    426: {"Upgrade": "websocket"},
}


def _for_bridge_error(error: BridgeError, request_id: str) -> Answer:
    details = dict(error.fields)
    retry_after = details.get("retry_after_s", 1 if error.status in {429, 503} else None)
    headers = dict(_HEADERS_OF_STATUS.get(error.status, {}))
    if isinstance(retry_after, int | float):
        headers["Retry-After"] = str(max(1, math.ceil(retry_after)))
    if not error.certain:
        details["certain"] = False
    if error.status >= 500 and error.status != 501:  # what there is not yet is no failure
        log.warning("http.request_failed", request_id=request_id, code=error.code, exc_info=error)
    if error.code == "internal":
        return for_status(error.status, request_id, headers)
    problem = Problem(str(error), error.code, error.retryable, details, request_id)
    return Answer(error.status, _encoder.encode(problem), headers)
