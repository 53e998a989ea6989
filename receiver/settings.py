"""The receiver's settings, one table: what `receiver.config` reads, and what docs/receiver.md says of it.

`python -m ops.settings` writes the documents from here; a test compares them.
"""

from collections.abc import Mapping
from dataclasses import dataclass

PREFIX = "RECEIVER_"
MAX_HANDLER_TIMEOUT_S = 3600
MAX_RETENTION_DAYS = 36500
MIN_KEY_CHARS = 16
MIN_META_SECRET_BYTES = 16


@dataclass(frozen=True, slots=True)
class Setting:
    """A variable of the environment; one that is empty counts as not set."""

    must: str
    """What a value has to be, in the words of its refusal; empty where anything goes."""
    meaning: str
    default: str = ""
    """As it would be written in the environment."""
    file: bool = False
    """Whether its value may also be in a file that the variable with _FILE appended names."""
    flag: str = ""
    """The flag of the command line that wins over it."""


SETTINGS: Mapping[str, Setting] = {
    "DATABASE_URL": Setting(
        "a URL of a PostgreSQL database",
        "Where it keeps what it got, needed. Its tables are in the schema `receiver`.",
        flag="--database-url",
    ),
    "SECRET": Setting(
        "`whsec_` and base64",
        "What webhooks are signed with, several separated by spaces while one replaces another. Needed, unless there is"
        " the next.",
        file=True,
        flag="--secret",
    ),
    "META_SECRET": Setting(
        f"{MIN_META_SECRET_BYTES} characters at least",
        "Secrets of apps at Meta, separated by spaces: webhooks in Meta's form count as well.",
        file=True,
    ),
    "API_KEY": Setting(
        f"{MIN_KEY_CHARS} characters at least, ASCII without spaces",
        "Whoever has it may see events; see below for what happens without.",
        file=True,
    ),
    "HANDLERS": Setting(
        "`package.module:function`, separated by commas", "Functions that are called with every event."
    ),
    "HANDLER_TIMEOUT_S": Setting(
        f"a number of seconds up to {MAX_HANDLER_TIMEOUT_S}", "How long one call of a handler may take.", "30"
    ),
    "RETENTION_DAYS": Setting(
        f"a whole number up to {MAX_RETENTION_DAYS}",
        "How many days events are kept; 0: for ever. See [below](#what-is-kept).",
        "30",
    ),
    "HOST": Setting("", "Address to listen on; in a container `0.0.0.0`.", "127.0.0.1", flag="--host"),
    "PORT": Setting("a number from 0 to 65535", "0 takes a free one.", "5555", flag="--port"),
    "PATHS": Setting(
        "paths that begin with /, separated by commas", "What takes webhooks.", "/,/webhook", flag="--path"
    ),
}
"""By name, without the prefix, in the order of the document."""
