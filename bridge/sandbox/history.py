"""History: what a phone had written before a client was linked, which it sends to that client.

A *history sync* is a compressed protobuf that the phone hands over in a message to its own device: first the names of
the people (`PUSH_NAME`), then the chats with their messages (`INITIAL_BOOTSTRAP`). A small one stands in that message
itself, a larger one is a file on the media host.
"""

import time
import zlib
from dataclasses import dataclass
from typing import Final

from bridge.protos import e2e, history_sync, web
from bridge.sandbox.accounts import Account, Accounts, Device
from bridge.sandbox.media_files import MediaFiles
from bridge.sandbox.nodes import LID_SERVER, Jid
from bridge.sandbox.phones import Phones
from bridge.sandbox.relay import new_message_id
from bridge.sandbox.state import State

INLINE_BYTES: Final = 1_000
"""A larger history sync goes through the media host. WhatsApp's own bound is not known."""
MAX_MESSAGES: Final = 5_000
"""Of one phone; a sync of so many texts has about 500 kB."""


@dataclass(frozen=True, slots=True)
class Past:
    """A text of an earlier day. `chat` is the other one's LID or a group, `author` the LID of who wrote it."""

    chat: str
    id: str
    author: str
    text: str
    at: int


class History:
    """The past of all phones, in the state."""

    def __init__(self, state: State, accounts: Accounts, phones: Phones, files: MediaFiles) -> None:
        self._state = state
        self._accounts = accounts
        self._phones = phones
        self._files = files

    def of(self, account: Account) -> list[Past]:
        """Return an account's past, oldest first."""
        rows = self._state.rows(
            "SELECT chat, id, author, text, at FROM history WHERE phone = ? ORDER BY at, rowid DESC LIMIT ?",
            account.phone,
            MAX_MESSAGES,
        )
        return [Past(*row) for row in rows]

    def add(self, account: Account, chat: Jid, text: str, *, from_me: bool, at: int | None = None) -> Past:
        """Add a text that account and chat had exchanged; without a time it is of now."""
        author = account.lid if from_me else chat
        past = Past(str(chat), new_message_id(), str(author), text, int(time.time()) if at is None else at)
        self._state.run(
            "INSERT INTO history (phone, chat, id, author, text, at) VALUES (?, ?, ?, ?, ?, ?)",
            account.phone,
            past.chat,
            past.id,
            past.author,
            past.text,
            past.at,
        )
        return past

    def send(self, device: Device) -> int:
        """Send a linked device its account's past, if it has one; return how many messages that are."""
        account = device.account
        past = self.of(account)
        if past:
            self._sync(device, self._names(past))
            self._sync(device, self._chats(account, past))
        return len(past)

    def _sync(self, device: Device, sync: "history_sync.HistorySync") -> None:
        message = e2e.Message()
        message.protocolMessage.type = e2e.ProtocolMessage.HISTORY_SYNC_NOTIFICATION
        told = message.protocolMessage.historySyncNotification
        told.syncType = sync.syncType
        told.chunkOrder = 1
        told.progress = 100
        packed = zlib.compress(sync.SerializeToString())
        if len(packed) <= INLINE_BYTES:
            told.initialHistBootstrapInlinePayload = packed
        else:
            file = self._files.add_now(packed, "history")
            told.directPath, told.mediaKey = file.direct_path, file.sealed.media_key
            told.fileSHA256, told.fileEncSHA256 = file.sealed.sha256, file.sealed.sealed_sha256
            told.fileLength = file.sealed.size
        self._phones.phone_of(device.account).send_peer(device, message)

    def _names(self, past: list[Past]) -> "history_sync.HistorySync":
        sync = history_sync.HistorySync(syncType=history_sync.HistorySync.PUSH_NAME)
        for account in self._people(past):
            sync.pushnames.add(ID=str(account.lid), pushname=account.name)
        return sync

    def _chats(self, account: Account, past: list[Past]) -> "history_sync.HistorySync":
        kind = history_sync.HistorySync.INITIAL_BOOTSTRAP
        sync = history_sync.HistorySync(syncType=kind, chunkOrder=1, progress=100)
        for other in self._people(past):
            sync.phoneNumberToLidMappings.add(pnJID=str(other.jid), lidJID=str(other.lid))
        for chat in dict.fromkeys(one.chat for one in past):
            inside = [one for one in past if one.chat == chat]
            conversation = sync.conversations.add(ID=chat, conversationTimestamp=inside[-1].at)
            partner = self._accounts.find(Jid.parse(chat))
            if partner is not None:
                conversation.name = partner.name
            for order, one in enumerate(inside, 1):
                conversation.messages.add(msgOrderID=order, message=self._message(account, one))
        return sync

    def _message(self, account: Account, one: Past) -> "web.WebMessageInfo":
        info = web.WebMessageInfo(messageTimestamp=one.at)
        info.key.remoteJID = one.chat
        info.key.fromMe = one.author == str(account.lid)
        info.key.ID = one.id
        if not one.chat.endswith("@" + LID_SERVER):
            info.key.participant = one.author
        author = self._accounts.find(Jid.parse(one.author))
        if author is not None and not info.key.fromMe:
            info.pushName = author.name
        info.message.conversation = one.text
        return info

    def _people(self, past: list[Past]) -> list[Account]:
        found = (self._accounts.find(Jid.parse(address)) for one in past for address in (one.chat, one.author))
        return list({account.phone: account for account in found if account is not None}.values())
