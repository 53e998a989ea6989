"""What the engine reports, in the words of the domain: signals for the session, events for the endpoints."""

from typing import Any

import pytest

from bridge.domain import signals as sig
from bridge.domain.events import Event, Flags
from bridge.engine.codes import SUBSCRIBED, Code
from bridge.engine.translate import Context, advance, translate
from bridge.protos import e2e, neonize_pb
from tests.support.engine_reports import AT_MS, GROUP, LID, PHONE, info, jid, message, record, source

SEED_FIELDS = {"message_id", "chat_id", "sender_id", "from", "timestamp", "push_name", "is_from_me", "is_group"}


def only(found: tuple[object, ...]) -> Event:
    (event,) = found
    assert isinstance(event, Event)
    return event


def event_of(content: "e2e.Message | None" = None, **fields: Any) -> Event:
    return only(translate(message(content, **fields), Context()))


# messages


def test_a_text_carries_the_original_fields_and_both_identities() -> None:
    event = event_of()
    assert (event.type, event.name, event.chat) == ("message.received", "message_received", LID)
    assert event.at == AT_MS / 1000
    assert event.data == {
        "message_id": "3EB0AA",
        "chat_id": LID,
        "sender_id": LID,
        "from": "491500000001",
        "timestamp": AT_MS // 1000,
        "push_name": "Ada",
        "is_from_me": False,
        "is_group": False,
        "chat": {"id": LID, "kind": "direct"},
        "sender": {"jid": PHONE, "lid": LID, "phone": "491500000001", "phone_known": True, "name": "Ada"},
        "kind": "text",
        "text": "hello",
        "mentions": [],
        "quoted": None,
    }
    assert event.message is not None
    assert (event.message.text, event.message.status, event.message.from_me) == ("hello", "received", False)


def test_a_sender_whose_number_is_unknown_is_answered_under_the_lid() -> None:
    event = event_of(alternative="")
    assert event.data["from"] == LID
    assert event.data["sender"] == {"jid": None, "lid": LID, "phone": None, "phone_known": False, "name": "Ada"}


def test_the_device_of_a_sender_is_not_part_of_who_it_is() -> None:
    assert event_of(sender="91827364:7@lid").data["sender_id"] == LID


@pytest.mark.parametrize(
    ("content", "kind", "name", "text"),
    [
        (e2e.Message(extendedTextMessage=e2e.ExtendedTextMessage(text="t")), "text", "message_received", "t"),
        (e2e.Message(imageMessage=e2e.ImageMessage(caption="c")), "image", "image_received", "c"),
        (e2e.Message(videoMessage=e2e.VideoMessage()), "video", "video_received", None),
        (e2e.Message(ptvMessage=e2e.VideoMessage()), "video", "video_received", None),
        (e2e.Message(audioMessage=e2e.AudioMessage(PTT=True)), "audio", "audio_received", None),
        (e2e.Message(documentMessage=e2e.DocumentMessage(fileName="f")), "document", "document_received", None),
        (e2e.Message(stickerMessage=e2e.StickerMessage()), "sticker", "sticker_received", None),
        (e2e.Message(contactMessage=e2e.ContactMessage(displayName="n")), "contact", "contact_received", "n"),
        (e2e.Message(locationMessage=e2e.LocationMessage(degreesLatitude=0)), "location", "location_received", None),
        (e2e.Message(liveLocationMessage=e2e.LiveLocationMessage()), "live_location", "live_location_received", None),
        (e2e.Message(pollCreationMessageV3=e2e.PollCreationMessage(name="q")), "poll", "message_received", "q"),
        (e2e.Message(listMessage=e2e.ListMessage(title="l")), "interactive", "list_received", "l"),
        (e2e.Message(orderMessage=e2e.OrderMessage()), "interactive", "order_received", None),
        (e2e.Message(buttonsMessage=e2e.ButtonsMessage()), "interactive", "interactive_message_received", None),
        (e2e.Message(call=e2e.Call()), "unknown", "message_received", None),
    ],
)
def test_a_message_has_its_kind_and_the_originals_name(
    content: "e2e.Message", kind: str, name: str, text: str | None
) -> None:
    event = event_of(content)
    assert (event.type, event.name, event.data["kind"], event.data["text"]) == ("message.received", name, kind, text)
    assert set(event.data) >= SEED_FIELDS


def test_a_media_message_says_what_the_file_is() -> None:
    image = e2e.ImageMessage(mimetype="image/png", caption="c", fileLength=7, fileSHA256=b"\x01\x02", width=3, height=4)
    data = event_of(e2e.Message(imageMessage=image)).data
    assert (data["media_type"], data["mime_type"], data["caption"]) == ("image", "image/png", "c")
    assert data["media"] == {
        "mime_type": "image/png",
        "size_bytes": 7,
        "sha256": "0102",
        "is_ptt": False,
        "width": 3,
        "height": 4,
        "duration_s": None,
    }


def test_an_answer_says_what_it_answers_and_whom_it_mentions() -> None:
    context = e2e.ContextInfo(
        stanzaID="3EB0BB", participant=PHONE, mentionedJID=[LID], quotedMessage=e2e.Message(conversation="before")
    )
    event = event_of(e2e.Message(extendedTextMessage=e2e.ExtendedTextMessage(text="yes", contextInfo=context)))
    assert event.data["quoted"] == {"message_id": "3EB0BB", "sender": PHONE, "text": "before"}
    assert event.data["mentions"] == [LID]


def test_a_wrapped_message_is_what_is_in_it() -> None:
    inner = e2e.Message(imageMessage=e2e.ImageMessage(caption="once"))
    once = e2e.Message(viewOnceMessageV2=e2e.FutureProofMessage(message=inner))
    both = e2e.Message(ephemeralMessage=e2e.FutureProofMessage(message=once))
    assert event_of(both).data["text"] == "once"


def test_a_message_of_another_device_of_ours_is_sent_not_received() -> None:
    event = event_of(from_me=True)
    assert (event.type, event.name, event.flags.from_me) == ("message.sent", "message_sent", True)
    assert event.message is not None and (event.message.status, event.message.from_me) == ("sent", True)


def test_the_first_of_the_two_reports_of_a_group_message_says_nothing() -> None:
    keys = e2e.SenderKeyDistributionMessage(groupID=GROUP)
    first = message(e2e.Message(senderKeyDistributionMessage=keys), chat=GROUP)
    second = message(e2e.Message(conversation="hi", senderKeyDistributionMessage=keys), chat=GROUP)
    assert translate(first, Context()) == ()
    event = only(translate(second, Context()))
    assert (event.data["text"], event.data["is_group"], event.data["chat"]) == (
        "hi",
        True,
        {"id": GROUP, "kind": "group"},
    )


def test_an_empty_message_and_a_protocol_message_say_nothing() -> None:
    share = e2e.ProtocolMessage(type=e2e.ProtocolMessage.APP_STATE_SYNC_KEY_SHARE)
    assert translate(message(e2e.Message()), Context()) == ()
    assert translate(message(e2e.Message(protocolMessage=share)), Context()) == ()


def test_a_deletion_and_an_edit_name_the_message_that_they_change() -> None:
    key = {"ID": "OLD", "remoteJID": LID}
    revoke = e2e.Message(protocolMessage=e2e.ProtocolMessage(type=e2e.ProtocolMessage.REVOKE, key=key))
    edit = e2e.ProtocolMessage(
        type=e2e.ProtocolMessage.MESSAGE_EDIT, key=key, editedMessage=e2e.Message(conversation="better")
    )
    wrapped = e2e.Message(editedMessage=e2e.FutureProofMessage(message=e2e.Message(protocolMessage=edit)))
    gone, changed = event_of(revoke), event_of(wrapped)
    assert (gone.type, gone.name, gone.data["message_id"]) == ("message.revoked", "message_revoked", "OLD")
    assert (changed.type, changed.name, changed.data["message_id"]) == ("message.edited", "message_edited", "OLD")
    assert changed.data["text"] == "better"
    assert gone.message is None and changed.message is None


def test_a_reaction_and_a_vote_are_no_messages() -> None:
    reaction = e2e.ReactionMessage(key={"ID": "OLD"}, text="👍")
    vote = e2e.PollUpdateMessage(pollCreationMessageKey={"ID": "POLL"})
    liked = event_of(e2e.Message(reactionMessage=reaction))
    voted = event_of(e2e.Message(pollUpdateMessage=vote))
    assert (liked.type, liked.data["reaction"]) == ("message.reaction", {"message_id": "OLD", "emoji": "👍"})
    assert (voted.type, voted.data["poll_message_id"]) == ("message.poll_vote", "POLL")


def test_an_undecryptable_message_and_its_second_sending_are_two_events() -> None:
    lost = neonize_pb.UndecryptableMessage(
        Info=info(), IsUnavailable=False, DecryptFailMode=neonize_pb.UndecryptableMessage.DECRYPT_FAIL_SHOW
    )
    event = only(translate(record(Code.UNDECRYPTABLE, lost), Context()))
    assert event.type == "message.undecryptable"
    assert event.data["message_id"] == "3EB0AA"
    assert event.dedup_key != event_of().dedup_key


def test_a_redelivered_message_has_the_same_key_and_another_one_has_not() -> None:
    assert event_of().dedup_key == event_of(e2e.Message(conversation="hello")).dedup_key
    others = [event_of(id="3EB0CC"), event_of(chat=GROUP), event_of(sender="1@lid")]
    assert len({event_of().dedup_key, *(event.dedup_key for event in others)}) == 4


@pytest.mark.parametrize("kind", ["message", "message.sent", "reaction"])
def test_a_message_that_is_ignored_because_we_have_it_meets_its_own_key(kind: str) -> None:
    known = {
        "message": event_of(),
        "message.sent": event_of(from_me=True),
        "reaction": event_of(e2e.Message(reactionMessage=e2e.ReactionMessage(key={"ID": "OLD"}, text="x"))),
    }[kind]
    again = only(translate(record(Code.IGNORED, f"3EB0AA {LID} {LID}".encode()), Context()))
    assert again.dedup_key == known.dedup_key


def test_a_message_that_died_with_its_process_is_reported_as_unreadable() -> None:
    sender = "491500000001:4@s.whatsapp.net"
    event = only(translate(record(Code.IGNORED, f"3EB0DD {sender} {GROUP}".encode()), Context()))
    assert (event.type, event.data["message_id"], event.data["from"]) == (
        "message.undecryptable",
        "3EB0DD",
        "491500000001",
    )
    assert (event.data["sender_id"], event.chat, event.data["is_group"]) == (PHONE, GROUP, True)


def test_keys_that_our_own_phone_sends_again_are_no_lost_messages() -> None:
    ours = Context(jid="491500000001:3@s.whatsapp.net", lid=LID)
    for sender in (PHONE, LID, "91827364:3@lid"):
        assert translate(record(Code.IGNORED, f"3EB0EE {sender} {LID}".encode()), ours) == ()


# the session


@pytest.mark.parametrize(
    ("found", "signal"),
    [
        (record(Code.CONNECTED, neonize_pb.Connected(status=True)), sig.Connected()),
        (record(Code.DISCONNECTED, neonize_pb.Disconnected(status=True)), sig.Disconnected()),
        (record(Code.STREAM_ERROR, neonize_pb.StreamError(Code="516")), sig.StreamFailed("516")),
        (record(Code.STREAM_REPLACED), sig.Replaced()),
        (record(Code.CLIENT_OUTDATED), sig.Outdated()),
        (record(Code.KEEPALIVE_TIMEOUT, neonize_pb.KeepAliveTimeout(ErrorCount=1)), sig.KeepAliveLost()),
        (record(Code.KEEPALIVE_RESTORED), sig.KeepAliveRestored()),
        (record(Code.LOGGED_OUT, neonize_pb.LoggedOut(OnConnect=False)), sig.LoggedOut("removed_by_phone", False)),
        (
            record(Code.LOGGED_OUT, neonize_pb.LoggedOut(OnConnect=True, Reason="LOGGED_OUT")),
            sig.LoggedOut("logged_out", True),
        ),
        (
            record(Code.CONNECT_FAILURE, neonize_pb.ConnectFailure(Reason="GENERIC", Message="")),
            sig.ConnectFailed("generic"),
        ),
        (
            record(Code.TEMPORARY_BAN, neonize_pb.TemporaryBan(Code="BLOCKED_BY_USERS", Expire=60)),
            sig.Banned("blocked_by_users", 60.0),
        ),
        (
            record(Code.PAIR_STATUS, neonize_pb.PairStatus(Status="ERROR", Error="bad HMAC")),
            sig.PairFailed("bad HMAC"),
        ),
        (record(Code.LOGIN_STATUS, b"timeout"), sig.QrExhausted()),
        (record(Code.LOGIN_STATUS, b"err-client-outdated"), sig.Outdated()),
        (record(Code.LOGIN_STATUS, b"err-unexpected-state"), sig.PairFailed("err-unexpected-state")),
        (record(Code.ENDED, b"dial failed"), sig.ConnectFailed("dial failed")),
        (record(Code.DEVICE, neonize_pb.Device(PushName="Ada", JID=jid(PHONE))), sig.PushNameKnown("Ada")),
    ],
)
def test_what_a_session_says_about_itself_becomes_a_signal(found: Any, signal: sig.Signal) -> None:
    assert translate(found, Context()) == (signal,)


def test_the_first_qr_code_lives_a_minute_and_the_others_twenty_seconds() -> None:
    context, code = Context(), record(Code.QR, b"https://wa.me/x", at=1000.0)
    assert translate(code, context) == (sig.QrIssued("https://wa.me/x", 1060.0),)
    assert translate(code, advance(code, context)) == (sig.QrIssued("https://wa.me/x", 1020.0),)


def test_a_pairing_gives_the_device_and_its_lid() -> None:
    device = record(Code.DEVICE, neonize_pb.Device(JID=jid("491500000001:3@s.whatsapp.net"), LID=jid("9:3@lid")))
    paired = record(Code.PAIR_STATUS, neonize_pb.PairStatus(ID=jid("491500000001:3@s.whatsapp.net"), Status="SUCCESS"))
    assert translate(device, Context()) == ()
    assert translate(paired, advance(device, Context())) == (
        sig.PairSucceeded("491500000001:3@s.whatsapp.net", "9@lid"),
    )


def test_a_login_that_goes_on_is_no_news() -> None:
    assert translate(record(Code.LOGIN_STATUS, b"success"), Context()) == ()
    assert translate(record(Code.LOGIN_STATUS, b"err-scanned-without-multidevice"), Context()) == ()


# the rest


def test_codes_that_we_do_not_know_give_nothing() -> None:
    for code in (1, 16, 26, 27, 31, 45, 99, -9):
        assert translate(record(code, b"\xff\xff"), Context()) == ()  # type: ignore[arg-type]


def test_everything_that_we_listen_to_is_understood() -> None:
    for code in (*SUBSCRIBED, Code.HISTORY_SYNC):
        translate(record(Code(code)), Context())


def test_presence_and_typing_name_who_and_where() -> None:
    away = neonize_pb.Presence(From=jid(LID), Unavailable=True, LastSeen=1_750_000_000)
    typing = neonize_pb.ChatPresence(MessageSource=source(LID, LID, PHONE), State="COMPOSING", Media="TEXT")
    gone, writes = (
        only(translate(record(code, report), Context()))
        for code, report in ((Code.PRESENCE, away), (Code.CHAT_PRESENCE, typing))
    )
    assert (gone.type, gone.name, gone.data["state"]) == ("presence.update", "presence_update", "unavailable")
    assert (gone.data["from"], gone.data["last_seen"], gone.data["sender"]["lid"]) == (LID, 1_750_000_000, LID)
    assert (writes.type, writes.name, writes.data["state"]) == ("chat.presence", "chat_presence_update", "typing")


def test_a_group_that_changes_says_who_and_what() -> None:
    report = neonize_pb.GroupInfoEvent(JID=jid(GROUP), Sender=jid(LID), Timestamp=5, Join=[jid(PHONE)])
    report.Name.Name = "New name"
    people, name = translate(record(Code.GROUP_INFO, report), Context())
    assert isinstance(people, Event) and isinstance(name, Event)
    assert (people.type, people.data["added"]) == ("group.participants", [PHONE])
    assert (name.type, name.data["changes"]) == ("group.update", {"subject": "New name"})
    assert people.dedup_key != name.dedup_key


def test_every_setting_of_a_group_that_changes_is_told() -> None:
    report = neonize_pb.GroupInfoEvent(JID=jid(GROUP), Sender=jid(LID), Timestamp=5, NewInviteLink="https://link")
    report.Topic.Topic, report.Locked.isLocked, report.Announce.IsAnnounce = "About", True, True
    report.Ephemeral.IsEphemeral, report.Ephemeral.DisappearingTimer, report.Delete.Deleted = True, 86400, True
    assert only(translate(record(Code.GROUP_INFO, report), Context())).data["changes"] == {
        "description": "About", "locked": True, "announce": True, "disappearing_s": 86400, "deleted": True,
        "invite_link": "https://link",
    }  # fmt: skip


def test_a_call_says_who_rings() -> None:
    meta = neonize_pb.BasicCallMeta(callID="C1", callCreator=jid(LID), callCreatorAlt=jid(PHONE), timestamp=7)
    event = only(translate(record(Code.CALL_OFFER, neonize_pb.CallOffer(basicCallMeta=meta)), Context()))
    assert (event.type, event.data["call_id"], event.data["from"]) == ("call.offer", "C1", "491500000001")


def past(count: int, text: str = "text {}") -> neonize_pb.HistorySync:
    """Return a history sync of one chat with somebody whose number is known."""
    report = neonize_pb.HistorySync()
    report.Data.syncType = report.Data.RECENT
    report.Data.chunkOrder, report.Data.progress = 3, 40
    report.Data.phoneNumberToLidMappings.add(lidJID=LID, pnJID=PHONE)
    chat = report.Data.conversations.add(ID=LID, name="Ann", unreadCount=2)
    for number in range(count):
        info = chat.messages.add(msgOrderID=number).message
        info.key.ID, info.key.remoteJID, info.key.fromMe = f"M{number}", LID, number % 2 == 1
        info.messageTimestamp = 1_600_000_000 + number
        info.message.conversation = text.format(number)
    return report


def test_the_past_of_a_chat_comes_in_batches_that_say_where_they_are_from() -> None:
    events = translate(record(Code.HISTORY_SYNC, past(150)), Context())
    assert [len(event.data["messages"]) for event in events] == [100, 50]  # type: ignore[union-attr, arg-type]
    first = events[0]
    assert isinstance(first, Event)
    assert (first.type, first.name, first.chat, first.flags) == (
        "history.batch", "history_sync", LID, Flags(history=True),
    )  # fmt: skip
    assert {name: first.data[name] for name in ("sync_type", "chunk", "progress", "chat_id")} == {
        "sync_type": "recent", "chunk": 3, "progress": 40, "chat_id": LID,
    }  # fmt: skip
    assert first.data["chat"] == {
        "id": LID, "kind": "direct", "name": "Ann", "jid": PHONE, "lid": LID, "unread": 2,
    }  # fmt: skip
    theirs, mine = first.data["messages"][:2]  # type: ignore[index]
    assert (theirs["sender_id"], theirs["is_from_me"], theirs["text"]) == (LID, False, "text 0")
    assert (mine["sender_id"], mine["is_from_me"], mine["timestamp"]) == (None, True, 1_600_000_001)
    assert len({event.dedup_key for event in events}) == 2  # type: ignore[union-attr]
    assert translate(record(Code.HISTORY_SYNC, past(150)), Context()) == events


def test_long_messages_of_the_past_are_cut_into_more_batches() -> None:
    events = translate(record(Code.HISTORY_SYNC, past(5, "x" * 60_000)), Context())
    assert [len(event.data["messages"]) for event in events] == [3, 2]  # type: ignore[union-attr, arg-type]


def test_a_history_sync_of_names_gives_names_and_keys_alone_give_nothing() -> None:
    names = neonize_pb.HistorySync()
    names.Data.syncType = names.Data.PUSH_NAME
    names.Data.pushnames.add(ID=LID, pushname="Ann")
    event = only(translate(record(Code.HISTORY_SYNC, names), Context()))
    assert event.data["contacts"] == [{"jid": LID, "push_name": "Ann"}]
    silent = past(1)
    silent.Data.conversations[0].messages[0].message.message.Clear()
    assert translate(record(Code.HISTORY_SYNC, silent), Context()) == ()
