"""What can be wrong with a file, in words for the caller."""

from bridge.errors import BridgeError


class MediaTooLarge(BridgeError):
    """The file is too large; send a smaller one, or raise BRIDGE_MEDIA_MAX_BYTES."""

    code, status = "media_too_large", 413


class MediaUnreachable(BridgeError):
    """The file could not be fetched from its URL:"""

    code, status = "media_unreachable", 422


class MediaFetchTimeout(BridgeError):
    """The file did not arrive from its URL in time."""

    code, status, retryable = "media_fetch_timeout", 504, True


class MediaUnsuitable(BridgeError):
    """The file is not what the call needs:"""

    code, status = "media_unsuitable", 422


class MediaNotFound(BridgeError):
    """There is no such media."""

    code, status = "media_not_found", 404


class MediaPending(BridgeError):
    """The file has not been downloaded from WhatsApp yet; wait for the event media.updated."""

    code, status, retryable = "media_pending", 409, True


class MediaGone(BridgeError):
    """The file is not there any more:"""

    code, status = "media_gone", 410


class MediaNotRetryable(BridgeError):
    """There is nothing to download again:"""

    code, status = "media_not_retryable", 409


class LinkRefused(BridgeError):
    """This link is not valid, or not any more; an API key in a header opens the file as well."""

    code, status = "link_refused", 403


class MediaStoreFailed(BridgeError):
    """The store of media does not answer."""

    code, status, retryable = "media_store_failed", 503, True
