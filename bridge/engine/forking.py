"""What the bridge and its fork server say to each other, over a socket that keeps packets apart (SOCK_SEQPACKET).

A packet from the bridge asks for a host: it holds the path of the folder to run in, and four descriptors: the host's
stdin, stdout and stderr, and one on which its exit status is told when it ends. The answer is the host's pid in decimal
digits, and a pidfd.
"""

PACKET_BYTES = 8192
"""More than a path can have (PATH_MAX, 4096)."""
DESCRIPTORS = 4
STATUS_BYTES = 4


def pack_status(code: int) -> bytes:
    """Return an exit status as it is told; negative for a signal, as in `subprocess`."""
    return code.to_bytes(STATUS_BYTES, "little", signed=True)


def unpack_status(data: bytes) -> int | None:
    """Return the exit status; None when nobody has told it."""
    return int.from_bytes(data, "little", signed=True) if len(data) == STATUS_BYTES else None
