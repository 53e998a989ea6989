"""What a call on the engine can end with; `certain` says whether it is known that nothing happened at WhatsApp."""

from bridge.errors import BridgeError


class EngineError(BridgeError):
    """The engine could not do what was asked:"""

    code, status, retryable = "engine_failed", 502, True


class NameMissing(EngineError):
    """WhatsApp shows nobody as available who has no name: give this number one with PATCH /profile/{key} first."""

    code, status, retryable = "name_missing", 409, False


class UnknownGroup(EngineError):
    """WhatsApp knows no group with this id."""

    code, status, retryable = "unknown_group", 404, False


class NotInGroup(EngineError):
    """The instance is not a member of this group: join it by an invite link, or have an admin add it."""

    code, status, retryable = "not_in_group", 403, False


class NotGroupAdmin(EngineError):
    """Only admins of the group may do this, and the instance is none: have an admin promote it."""

    code, status, retryable = "not_group_admin", 403, False


class InviteInvalid(EngineError):
    """This invite link leads to no group: it is mistyped, or was reset."""

    code, status, retryable = "invite_invalid", 422, False


class GroupRefused(EngineError):
    """WhatsApp did not take this change of the group:"""

    code, status, retryable = "group_refused", 409, False


class EngineRefused(EngineError):
    """The engine did not begin with it:"""

    code, status = "engine_refused", 503


class NewChatRefused(EngineError):
    """WhatsApp does not let this number write to people who have not written to it:"""

    code, status = "new_chats_limited", 429


class OutcomeUnknown(EngineError):
    """It is not known whether WhatsApp has carried it out:"""

    code, status, retryable, certain = "outcome_unknown", 504, False, False


class EngineDown(EngineError):
    """The session's engine host is gone: open the session again."""

    code, status = "engine_down", 503


class EngineDied(EngineDown):
    """The engine host died in the middle of the call: it is not known whether WhatsApp has carried it out."""

    retryable, certain = False, False


class JournalBusy(EngineError):
    """Another engine host still holds the session's journal:"""

    code, status = "journal_busy", 503
