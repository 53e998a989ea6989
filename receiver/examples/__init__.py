"""Handlers to learn from; nothing runs unless RECEIVER_HANDLERS names it."""
