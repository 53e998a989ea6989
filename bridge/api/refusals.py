"""What calls are refused with, for the OpenAPI document: each error once, and which call can give which.

The classes of errors lie in packages that this one may not import; a test compares the table with them, and the tests
with schemathesis show that no call is refused with what is not said here.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Refusal:
    """An error as it is answered; `error` is the beginning of its text."""

    status: int
    error: str
    retryable: bool = False
    details: Mapping[str, object] = field(default_factory=dict)

    def example(self, code: str) -> dict[str, Any]:
        """Return a body that says so."""
        shown = {"error": self.error, "code": code, "retryable": self.retryable}
        return {**shown, "details": dict(self.details), "request_id": "req_01"}


_FIELD = {"field": "name"}
_UNKNOWN = {"certain": False}
REFUSALS: Mapping[str, Refusal] = {
    "malformed_json": Refusal(400, "The body is not valid JSON."),
    "invalid_field": Refusal(400, "`name` is wrong: expected `str`, got `int`", details=_FIELD),
    "invalid_recipient": Refusal(400, "`to` has no digits", details={"field": "to"}),
    "instance_missing": Refusal(
        400, "No instance was named; give `instance_key` in the body or the header X-Instance-Key."
    ),
    "instance_mismatch": Refusal(
        400, "The body, the path and the header X-Instance-Key name different instances; name it once."
    ),
    "not_connected": Refusal(
        400,
        "The instance is not connected: connect it first, or wait until its state is online.",
        retryable=True,
        details={"state": "paused"},
    ),
    "invalid_cursor": Refusal(400, "This cursor was not made by this list; start again without one."),
    "unauthorized": Refusal(
        401,
        "An API key is needed; send it as `Authorization: Bearer <key>` or in the header X-Api-Key, never in the URL.",
    ),
    "forbidden": Refusal(
        403, "This API key does not allow the call. Its role is viewer.", details={"role": "viewer", "needs": "send"}
    ),
    "not_in_group": Refusal(403, "The instance is not a member of this group: join it by an invite link"),
    "not_group_admin": Refusal(403, "Only admins of the group may do this, and the instance is none"),
    "link_refused": Refusal(
        403, "This link is not valid, or not any more; an API key in a header opens the file as well."
    ),
    "unknown_instance": Refusal(404, "No instance has this key."),
    "unknown_contact": Refusal(404, "Neither WhatsApp nor this instance knows anybody by this address."),
    "unknown_group": Refusal(404, "WhatsApp knows no group with this id."),
    "unknown_message": Refusal(404, "This instance knows no such message"),
    "unknown_key": Refusal(404, "No API key has this id."),
    "unknown_webhook": Refusal(404, "No webhook has this id."),
    "unknown_delivery": Refusal(404, "This webhook has no such delivery."),
    "unknown_replay": Refusal(404, "No replay has this id."),
    "media_not_found": Refusal(404, "There is no such media."),
    "no_qr_code": Refusal(
        408, "No QR code has come yet; call POST /instance/connect first, or ask again.", retryable=True
    ),
    "request_timeout": Refusal(408, "The file did not arrive in time; send it again.", retryable=True),
    "already_connected": Refusal(409, "The instance is paired: it has no QR code.", details={"state": "online"}),
    "in_progress": Refusal(
        409,
        "The request with this Idempotency-Key is still running: ask again with the same key.",
        retryable=True,
    ),
    "last_admin_key": Refusal(409, "This is the last key that may make keys; make another one first."),
    "command_closed": Refusal(409, "The command has a result already: it keeps that."),
    "too_late": Refusal(409, "The message is not waiting any more:"),
    "stale_owner": Refusal(409, "Another owner took this instance over: nothing was written.", retryable=True),
    "name_missing": Refusal(409, "WhatsApp shows nobody as available who has no name"),
    "group_refused": Refusal(409, "WhatsApp did not take this change of the group:"),
    "media_pending": Refusal(
        409, "The file has not been downloaded from WhatsApp yet; wait for the event media.updated.", retryable=True
    ),
    "media_not_retryable": Refusal(409, "There is nothing to download again:"),
    "too_many_consumers": Refusal(409, "This API key has as many consumers as it may; use one of their names."),
    "expired": Refusal(410, "The message was not begun within its `ttl_s`, and is not sent any more."),
    "media_gone": Refusal(410, "The file is not there any more:"),
    "body_too_large": Refusal(413, "The body is too large; send less."),
    "media_too_large": Refusal(413, "The file is too large; send a smaller one, or raise BRIDGE_MEDIA_MAX_BYTES."),
    "unsupported_media_type": Refusal(415, "The body must be JSON; send Content-Type: application/json."),
    "range_not_satisfiable": Refusal(416, "The range lies behind the end of the file.", details={"size_bytes": 5120}),
    "idempotency_mismatch": Refusal(422, "This Idempotency-Key was used with another request; choose a new key."),
    "unknown_recipient": Refusal(422, "WhatsApp does not know this number: check it, with its country code."),
    "invite_invalid": Refusal(422, "This invite link leads to no group: it is mistyped, or was reset."),
    "not_deliverable": Refusal(422, "WhatsApp would not show this to the recipient, so it is not sent."),
    "url_refused": Refusal(422, "This URL must not be called."),
    "header_refused": Refusal(422, "This header cannot be set on webhooks."),
    "bad_secret": Refusal(422, "A webhook secret is `whsec_` and 24 to 64 bytes in base64."),
    "media_unsuitable": Refusal(422, "The file is not what the call needs:"),
    "media_unreachable": Refusal(422, "The file could not be fetched from its URL:"),
    "upgrade_required": Refusal(426, "This path speaks WebSocket (RFC 6455) over HTTP/1.1 alone"),
    "rate_limited": Refusal(
        429,
        "This API key makes too many calls; wait as long as Retry-After says.",
        retryable=True,
        details={"retry_after_s": 0.5, "rate_per_s": 500},
    ),
    "busy": Refusal(
        429, "Too many messages of this instance are waiting: send again after a second.", True, {"retry_after_s": 1}
    ),
    "paced": Refusal(
        429,
        "The pacing of this instance holds the message back",
        True,
        {"reason": "rate", "retry_after_s": 12.5, "not_before": "2026-01-01T12:00:00.000Z"},
    ),
    "new_chats_limited": Refusal(
        429,
        "WhatsApp does not let this number begin new chats for now",
        True,
        {"retry_after_s": 900},
    ),
    "not_implemented": Refusal(501, "This part of the request is not supported yet; leave it out:"),
    "send_failed": Refusal(502, "WhatsApp did not take the message", retryable=True),
    "engine_failed": Refusal(502, "The engine could not do what was asked:", retryable=True),
    "store_unavailable": Refusal(503, "PostgreSQL does not answer; try again.", retryable=True),
    "overloaded": Refusal(503, "Too many requests at the same time; try again.", retryable=True),
    "instance_down": Refusal(503, "The instance is being restarted: try again in a few seconds.", retryable=True),
    "engine_down": Refusal(503, "The session's engine host is gone: open the session again.", retryable=True),
    "engine_refused": Refusal(503, "The engine did not begin with it:", retryable=True),
    "journal_busy": Refusal(503, "Another engine host still holds the session's journal:", retryable=True),
    "no_pair_code": Refusal(503, "WhatsApp could not be asked for a pairing code: try again.", retryable=True),
    "media_store_failed": Refusal(503, "The store of media does not answer.", retryable=True),
    "media_fetch_timeout": Refusal(504, "The file did not arrive from its URL in time.", retryable=True),
    "outcome_unknown": Refusal(504, "It is not known whether WhatsApp has carried it out:", details=_UNKNOWN),
    "send_unknown": Refusal(504, "It is not known whether the message was sent", details=_UNKNOWN),
    "timeout": Refusal(
        504, "The bridge did not finish in time; what was begun may still happen.", True, details=_UNKNOWN
    ),
}
"""By code."""

_ENGINE = ("engine_failed", "engine_down", "engine_refused", "instance_down", "journal_busy", "outcome_unknown")
_ASKS = ("not_connected", *_ENGINE, "timeout")
_SENDS = (
    *("invalid_recipient", "unknown_recipient", "not_deliverable", "expired", "busy", "paced", "new_chats_limited"),
    "not_implemented",
    *("command_closed", "stale_owner", "send_failed", "send_unknown", *_ASKS),
)
_FILES = (
    *("media_not_found", "media_pending", "media_gone", "media_too_large", "media_unsuitable", "media_unreachable"),
    *("media_fetch_timeout", "media_store_failed", "url_refused"),
)
_GIVEN: tuple[tuple[str, tuple[str, ...]], ...] = (
    (r"POST /message/(?!read)", _SENDS),
    (r"POST /message/(react|edit|revoke|forward)", ("unknown_message",)),
    (r"POST /message/send", ("unknown_message",)),
    (r"POST /message/read", ("invalid_recipient", "unknown_message", *_ASKS)),
    (r"POST /message/(send-(media|voice|sticker)|forward)", _FILES),
    (r"POST /webhook$", ("invalid_recipient", "not_implemented", *_SENDS)),
    (r"GET /message/{key}/{id}|DELETE /message/", ("unknown_message",)),
    (r"DELETE /message/", ("too_late", "command_closed")),
    (r"POST /instance/(connect|{key}/(restart|disconnect|logout))|DELETE /instance", (*_ASKS, "stale_owner")),
    (r"DELETE /instance", ("not_implemented",)),
    (r"POST /instance/create", ("url_refused", "bad_secret", "not_implemented", "stale_owner", "timeout")),
    (r"PATCH /(instance|profile)", ("not_implemented", "timeout")),
    (r"/instance/{key}/qr", ("no_qr_code", "already_connected", "instance_down")),
    (r"/pair-code", ("invalid_recipient", "already_connected", "no_pair_code", *_ASKS)),
    (r"/passkey", ("not_implemented",)),
    (r"/(phone|contact|profile|presence|chat)", ("invalid_recipient", *_ASKS)),
    (r"/contact/{key}/{id}", ("unknown_contact", "unknown_recipient")),
    (r"POST /chat/presence", ("unknown_recipient",)),
    (r"POST /presence", ("name_missing",)),
    (r"POST /call/reject", ("invalid_recipient", "not_implemented", *_ASKS)),
    (r"/group/{key}", _ASKS),
    (r"/group/{key}/{id}", ("invalid_recipient", "unknown_group", "not_in_group")),
    (r"PATCH /group|/group/{key}/{id}/(participants|invite|requests)", ("not_group_admin",)),
    (r"(POST|PATCH) /group|/group/.*/(invite|requests)", ("group_refused",)),
    (r"POST /group/{key}$", ("invalid_recipient", "unknown_recipient")),
    (r"POST /group/{key}/join", ("invite_invalid", "unknown_group")),
    (r"PATCH /group", ("not_implemented",)),
    (r"(POST|PATCH|GET) /webhooks", ("url_refused", "header_refused", "bad_secret", "not_implemented")),
    (r"/webhooks/{webhook}", ("unknown_webhook",)),
    (r"POST /webhooks/{webhook}/replay|POST /deliveries", ("idempotency_mismatch", "in_progress")),
    (r"/deliveries/", ("unknown_delivery", "unknown_webhook")),
    (r"/replays/", ("unknown_replay",)),
    (r"(POST|DELETE) /keys", ("timeout",)),
    (r"POST /keys", ("unknown_instance", "unknown_key")),
    (r"DELETE /keys", ("unknown_key", "last_admin_key")),
    (r"GET /media", ("link_refused", "media_not_found", "media_pending", "media_gone", "range_not_satisfiable")),
    (r"GET /media", ("unauthorized", "forbidden", "rate_limited", "store_unavailable", "media_store_failed")),
    (r"POST /media/{key}$", ("request_timeout", "media_too_large", "body_too_large", "media_store_failed")),
    (r"POST /media/{key}/{id}/retry", ("media_not_found", "media_not_retryable", "media_gone", "not_connected")),
    (r"GET /events", ("invalid_field", "forbidden")),
    (r"GET /events/ws", ("upgrade_required", "too_many_consumers")),
)
"""Which call can give what, besides what follows from its form."""


def of_call(name: str, *, form: frozenset[str]) -> Iterator[str]:
    """Yield the codes that a call, `METHOD /path`, can be refused with.

    `form` says what it has: key (one is asked for), body, query, cursor, instance (in its path), names_instance (in its
    body), repeatable (an Idempotency-Key).
    """
    for part, codes in _BY_FORM.items():
        if part in form:
            yield from codes
    for pattern, codes in _GIVEN:
        if re.search(pattern, name):
            yield from codes


_BY_FORM: Mapping[str, tuple[str, ...]] = {
    "key": ("unauthorized", "forbidden", "rate_limited", "store_unavailable", "overloaded"),
    "body": ("malformed_json", "invalid_field", "body_too_large", "unsupported_media_type"),
    "query": ("invalid_field",),
    "cursor": ("invalid_cursor",),
    "instance": ("unknown_instance", "instance_mismatch"),
    "names_instance": ("unknown_instance", "instance_missing", "instance_mismatch"),
    "repeatable": ("invalid_field", "idempotency_mismatch", "in_progress"),
}
