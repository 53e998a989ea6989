"""What the store refuses, and why."""

from typing import ClassVar

from bridge.errors import BridgeError


class StoreError(BridgeError):
    """The store could not do what was asked."""


class StoreUnavailable(StoreError):
    """PostgreSQL does not answer; try again."""

    code: ClassVar[str] = "store_unavailable"
    status: ClassVar[int] = 503
    retryable: ClassVar[bool] = True


class PoolTimeout(StoreUnavailable):
    """Every connection to PostgreSQL is in use; try again."""


class StaleOwner(StoreError):
    """Another owner took this instance over: nothing was written."""

    code: ClassVar[str] = "stale_owner"
    status: ClassVar[int] = 409
    retryable: ClassVar[bool] = True


class InstanceNotFound(StoreError):
    """No instance has this key."""

    code: ClassVar[str] = "unknown_instance"
    status: ClassVar[int] = 404


class DeviceTaken(StoreError):
    """Another instance is paired as this device."""

    code: ClassVar[str] = "device_taken"
    status: ClassVar[int] = 409


class IdempotencyMismatch(StoreError):
    """This Idempotency-Key was used with another request; choose a new key."""

    code: ClassVar[str] = "idempotency_mismatch"
    status: ClassVar[int] = 422


class InProgress(StoreError):
    """The request with this Idempotency-Key is still running: ask again with the same key."""

    code: ClassVar[str] = "in_progress"
    status: ClassVar[int] = 409
    retryable: ClassVar[bool] = True


class CommandClosed(StoreError):
    """The command has a result already: it keeps that."""

    code: ClassVar[str] = "command_closed"
    status: ClassVar[int] = 409


class InvalidCursor(StoreError):
    """This cursor was not made by this list; start again without one."""

    code: ClassVar[str] = "invalid_cursor"
    status: ClassVar[int] = 400


class EngineTablesChanged(StoreError):
    """The engine's tables are not those that this program reads."""

    code: ClassVar[str] = "engine_tables_changed"


class MigrationError(StoreError):
    """The database does not fit this program; see the detail for what to do."""

    code: ClassVar[str] = "migration_failed"


class EmbeddedError(StoreError):
    """The embedded PostgreSQL could not be started; see the detail for what to do."""

    code: ClassVar[str] = "embedded_postgres_failed"


class DataDirectoryBusy(EmbeddedError):
    """Another bridge is running on this data directory; stop it or choose another directory."""

    code: ClassVar[str] = "data_directory_busy"
