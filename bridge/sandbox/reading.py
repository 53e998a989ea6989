"""How a simulated phone reads a message that a client encrypted for it, and what it says to that.

A message that it can read is confirmed; one that it cannot is asked for again, with fresh keys, as a real phone does.
"""

from typing import TYPE_CHECKING, Final

import structlog

from bridge.protos import e2e
from bridge.sandbox.accounts import Device
from bridge.sandbox.contents import Description, describe, words_of
from bridge.sandbox.nodes import Jid, Node
from bridge.sandbox.relay import Attrs, now_text
from bridge.sandbox.signal import Duplicate, SignalError

if TYPE_CHECKING:
    from bridge.sandbox.phone import Phone

log = structlog.get_logger()

_MAX_ASKED: Final = 5
"""How often a message is asked for again at most, as in real clients."""
_ASKED_KEPT: Final = 1000
_CURVE25519: Final = b"\x05"
_MARKS: Final = {"edit": "edited", "revoke": "revoked"}


def take_message(phone: "Phone", node: Node) -> None:
    """Receive a message: read it, put it into the inbox, and tell its sender."""
    group = node.jid("from") if node.jid("participant") else None
    author = node.jid("participant") or node.jid("from")
    sender = phone.all.accounts.device(author) if author else None
    if sender is None:
        return
    message_id, readable = node.text("id"), True
    for enc in node.all("enc"):
        try:
            message = _decrypt(phone, sender, group, enc)
        except Duplicate:
            continue
        except SignalError as error:
            log.warning("sandbox.undecryptable", phone=phone.number, message=message_id, error=error.code)
            readable = False
            continue
        if message.HasField("senderKeyDistributionMessage") and group is not None:
            told = message.senderKeyDistributionMessage.axolotlSenderKeyDistributionMessage
            phone.signal.accept_distribution(str(group), str(sender.lid), told)
        _take(phone, message_id, sender, group, message)
    if not sender.number:
        return
    if not readable:
        _ask_again(phone, sender, group, node)
    elif sender.account is not phone.account:
        phone.asked_again.pop(message_id, None)
        _confirm(phone, message_id, sender, group)
        if not phone.account.linked():
            phone.all.oracle.acknowledged(message_id, phone.device.name)


def take_content(phone: "Phone", message_id: str, sender: Device, chat: Jid, message: "e2e.Message") -> None:
    """Put a message of somebody else's into the inbox, if it has content; mark what it edits or revokes."""
    shown = describe(message)
    if shown is not None:
        _keep(phone, message_id, sender, chat, message=message, shown=shown)


def _keep(
    phone: "Phone", message_id: str, sender: Device, chat: Jid, *, message: "e2e.Message", shown: Description
) -> None:
    words = shown.get("text", "")
    inboxes, where = phone.all.inboxes, {"sender": sender.lid, "chat": chat}
    inboxes.add(phone.number, message_id, message, **where, text=words, own=False)
    mark = _MARKS.get(shown["kind"])
    if mark is not None:
        inboxes.mark(phone.number, shown["target"], mark)
    phone.wake()


def _take(phone: "Phone", message_id: str, sender: Device, group: Jid | None, message: "e2e.Message") -> None:
    own = message.HasField("deviceSentMessage")
    inside = message.deviceSentMessage.message if own else message
    shown = describe(inside)
    if shown is None:
        return
    words = words_of(shown)
    if words:
        phone.all.oracle.read(message_id, sender.name, words)
    if sender.account is not phone.account:
        _keep(phone, message_id, sender, group or sender.account.lid, message=inside, shown=shown)
    elif sender.number:
        chat = _chat(phone, group, message)
        phone.all.inboxes.add(phone.number, message_id, inside, sender=sender.lid, chat=chat, text="", own=True)
        phone.wake()


def _chat(phone: "Phone", group: Jid | None, message: "e2e.Message") -> Jid:
    """Return the chat that another device of this account wrote into."""
    if group is not None:
        return group
    to = Jid.parse(message.deviceSentMessage.destinationJID)
    account = phone.all.accounts.find(to)
    return account.lid if account else phone.account.lid


def _decrypt(phone: "Phone", sender: Device, group: Jid | None, enc: Node) -> "e2e.Message":
    address, kind = str(sender.lid), enc.text("type")
    if kind == "skmsg":
        plaintext = phone.signal.decrypt_group(str(group), address, enc.data())
    else:
        plaintext = phone.signal.decrypt(address, "pkmsg" if kind == "pkmsg" else "msg", enc.data())
    return e2e.Message.FromString(plaintext)


def _confirm(phone: "Phone", message_id: str, sender: Device, group: Jid | None) -> None:
    attrs: Attrs = {"from": group or phone.device.lid, "id": message_id, "t": now_text()}
    if group is not None:
        attrs["participant"] = phone.device.lid
    phone.all.relay.deliver(sender, Node("receipt", attrs))


def _ask_again(phone: "Phone", sender: Device, group: Jid | None, node: Node) -> None:
    """Send a retry receipt: the keys in it let the sender begin a new session with us."""
    message_id, device = node.text("id"), phone.device
    count = phone.asked_again.get(message_id, 0) + 1
    if count > _MAX_ASKED:
        return
    if len(phone.asked_again) >= _ASKED_KEPT:
        phone.asked_again.pop(next(iter(phone.asked_again)))
    phone.asked_again[message_id] = count
    attrs: Attrs = {"from": group or device.lid, "id": message_id, "type": "retry", "t": now_text()}
    if group is not None:
        attrs["participant"] = device.lid
    if node.jid("recipient") is not None:
        attrs["recipient"] = node.jid("recipient")
    retry = Node("retry", {"count": str(count), "id": message_id, "t": node.text("t") or now_text(), "v": "1"})
    content = [retry, Node("registration", {}, device.registration), Node("keys", {}, _keys(phone))]
    phone.all.relay.deliver(sender, Node("receipt", attrs, content))


def _keys(phone: "Phone") -> list[Node]:
    device, signed = phone.device, phone.device.signed
    prekey = phone.all.accounts.take_prekey(device)
    content = [Node("type", {}, _CURVE25519), Node("identity", {}, device.identity)]
    if prekey is not None:
        content.append(Node("key", {}, [Node("id", {}, prekey[0]), Node("value", {}, prekey[1])]))
    parts = [Node("id", {}, signed.id), Node("value", {}, signed.key), Node("signature", {}, signed.signature)]
    return [*content, Node("skey", {}, parts)]
