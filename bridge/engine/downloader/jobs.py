"""What is asked of a process that fetches files, and what it answers: JSON, a line each, one at a time."""

import msgspec


class Job(msgspec.Struct, frozen=True):
    """Fetch a file, open it, and write its content to `path`, which must not exist."""

    host: str
    target: str
    """Path and query at the host."""
    path: str
    info: str
    """The word for the kind of file that goes into its keys."""
    media_key: bytes
    sealed_sha256: bytes
    """Of the file as it comes, with its MAC; empty for one that is not sealed."""
    sha256: bytes
    """Of its content."""
    limit_bytes: int
    """A content of more is not wanted."""
    proxy: str = ""
    """`http://[user:password@]host:port`; empty for the direct way."""
    ca_file: str = ""
    """PEM file of the only authority to trust; empty for those of the machine."""

    def __repr__(self) -> str:
        return f"Job(path={self.path})"  # keys and proxies' passwords are not for logs


class Fetched(msgspec.Struct, frozen=True, tag="fetched"):
    """The file is at its path, checked against its hashes and its MAC, and on the disk."""

    size_bytes: int


class NotGiven(msgspec.Struct, frozen=True, tag="not_given"):
    """The host was not reached, or sends us away (a status below 500): nothing of the file has come."""

    reason: str


class Failed(msgspec.Struct, frozen=True, tag="failed"):
    """It came to nothing after it had begun, or is not what its message says."""

    reason: str


class TooLarge(msgspec.Struct, frozen=True, tag="too_large"):
    """It is larger than the limit, and was not read to its end."""


Answer = Fetched | NotGiven | Failed | TooLarge
encode = msgspec.json.Encoder().encode
read_job = msgspec.json.Decoder(Job).decode
read_answer: "msgspec.json.Decoder[Answer]" = msgspec.json.Decoder(Answer)
