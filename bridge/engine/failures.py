"""Tells a send that certainly did not happen from one that may have, by the engine's error text."""

CERTAIN = (
    "websocket not connected",
    "the store doesn't contain a device jid",
    "can't send message to unknown server",
    "can't send messages to",
    "message recipient must be",
    "unknown server",
    "no lid found",
    "no signal session",
    "failed to get device list",
    "failed to get user devices",
    "failed to get group members",
    "failed to fetch prekeys",
    "failed to prepare",
    "failed to encrypt",
    "failed to send message node",
    "failed to send usync query",
    "recipient is not on whatsapp",
    "server returned error",
    "info query returned status",
    "unexpected eof unmarshal",
    "proto:",
)
"""What whatsmeow says when it has not sent the stanza, or when WhatsApp has refused it."""


def is_certain(error: str) -> bool:
    """Return whether nothing was sent. An error that is not known here leaves it open: no second send on a guess."""
    lowered = error.lower()
    return any(text in lowered for text in CERTAIN)


def is_reachout_lock(error: str) -> bool:
    """Return whether WhatsApp refused a message to a stranger: error 463, in whatsmeow's words."""
    return "server returned error 463" in error.lower()
