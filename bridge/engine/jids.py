"""JIDs between their text and the engine's protobuf."""

import re

from bridge.protos import neonize_pb

_JID = re.compile(r"(?P<user>[^@:.]+)(?:\.(?P<agent>\d+))?(?::(?P<device>\d+))?@(?P<server>[a-z.]+)")


class BadJid(ValueError):
    """This is not a JID, `user@server` or `user:device@server`:"""


def parse(text: str) -> bytes:
    """Return the serialised JID of `text`; raise `BadJid`."""
    match = _JID.fullmatch(text)
    if match is None:
        raise BadJid(text)
    jid = neonize_pb.JID(
        User=match["user"],
        RawAgent=int(match["agent"] or 0),
        Device=int(match["device"] or 0),
        Integrator=0,
        Server=match["server"],
        IsEmpty=False,
    )
    return bytes(jid.SerializeToString())


def text(jid: "neonize_pb.JID", *, device: bool = False) -> str:
    """Return `user@server`, with the device when that is wanted and there is one; empty for an empty JID."""
    if not jid.User:
        return str(jid.Server)
    if device and jid.Device:
        return f"{jid.User}:{jid.Device}@{jid.Server}"
    return f"{jid.User}@{jid.Server}"
