"""Reports as the engine makes them, for tests of what we make of them."""

from typing import Any

from bridge.engine.codes import Code
from bridge.engine.journal import Record
from bridge.protos import e2e, neonize_pb

PHONE, LID, GROUP = "491500000001@s.whatsapp.net", "91827364@lid", "120363000001@g.us"
AT_MS = 1_750_000_000_500


def jid(text: str) -> Any:
    """Return the engine's form of a JID; of an empty one for an empty text."""
    user, _, server = text.partition("@")
    user, _, device = user.partition(":")
    return neonize_pb.JID(User=user, Server=server, Device=int(device or 0), RawAgent=0, Integrator=0, IsEmpty=not text)


def source(chat: str, sender: str, alternative: str = "", *, from_me: bool = False) -> Any:
    return neonize_pb.MessageSource(
        Chat=jid(chat),
        Sender=jid(sender),
        SenderAlt=jid(alternative),
        RecipientAlt=jid(""),
        IsFromMe=from_me,
        IsGroup=chat.endswith("@g.us"),
    )


def info(chat: str = LID, sender: str = LID, alternative: str = PHONE, **fields: Any) -> Any:
    from_me = fields.pop("from_me", False)
    return neonize_pb.MessageInfo(
        MessageSource=source(chat, sender, alternative, from_me=from_me),
        ID=fields.pop("id", "3EB0AA"),
        Pushname="Ada",
        Timestamp=AT_MS,
        Type="text",
        Category="",
        Multicast=False,
        MediaType="",
        Edit="",
        ServerID=0,
    )


def record(code: Code, report: Any = b"", *, at: float = 1_750_000_001.0, seq: int = 1) -> Record:
    payload = report if isinstance(report, bytes) else report.SerializePartialToString()
    return Record(seq, at, code, payload)


def message(content: "e2e.Message | None" = None, **fields: Any) -> Record:
    """Return the record of an incoming message; by default a text in a direct chat."""
    said = content if content is not None else e2e.Message(conversation="hello")
    return record(Code.MESSAGE, neonize_pb.Message(Info=info(**fields), Message=said, Raw=said))


def receipt(kind: int | None, *ids: str, chat: str = LID, sender: str = LID) -> Record:
    report = neonize_pb.Receipt(
        MessageSource=source(chat, sender, PHONE), MessageIDs=ids, Timestamp=AT_MS // 1000, Type=kind
    )
    return record(Code.RECEIPT, report)
