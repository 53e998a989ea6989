"""What neonize 0.5.2 cannot do: the one list of it, which docs/sandbox.md repeats.

An entry names the capability, why it is out of reach, and a word that would stand in neonize's Python sources if it
were there; a test fails when a newer neonize has the word, so that the list stays true.
"""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Cannot:
    """A capability that is missing. `missing` stands in neither neonize's client nor its events."""

    what: str
    why: str
    missing: str


CANNOT: Final = (
    Cannot("archive, pin, mute, star, label events", "app state changes are not forwarded as events", "MarkChatAsRead"),
    Cannot(
        "the business name in get_user_info",
        "whatsmeow puts it into the contact store only; is_on_whatsapp has it",
        "UserInfo.VerifiedName",
    ),
    Cannot("the id of a changed profile picture", "the Picture event has no field for it", "Picture.PictureID"),
    Cannot(
        "messages deleted for oneself on another device",
        "the event is not forwarded; the bridge recognises them in what whatsmeow stores",
        "DeleteForMe",
    ),
    Cannot(
        "the end of an app state sync",
        "the event is not forwarded; the bridge sees when whatsmeow stores nothing more",
        "AppStateSyncComplete",
    ),
    Cannot("the new value in an event of a privacy setting", "it says which setting, not what to", "NewSettings"),
    Cannot(
        "an answer of set_privacy_setting",
        "it is set, but what the library returns is raised as an error",
        "SetPrivacySettingReturnFunction",
    ),
    Cannot("the about text of a contact as an event", "it is not forwarded; get_user_info has it", "UserAbout"),
    Cannot("calls of an own status privacy", "it can be read, there is no call to change it", "set_status_privacy"),
    Cannot("push name changes of a contact", "the event is not forwarded", "PushNameEv"),
    Cannot(
        "media retry (a phone uploads a file again)", "no call to ask, and its event is not forwarded", "MediaRetry"
    ),
    Cannot("passkey requests while pairing", "the event is not forwarded", "Passkey"),
    Cannot(
        "the reach-out time lock as an event", "not forwarded; a send that it refuses fails with code 463", "TimeLock"
    ),
    Cannot("a message id of the caller's", "send_message takes none and makes its own", "message_id=message_id"),
    Cannot("acknowledging only after handling", "whatsmeow's SynchronousAck cannot be set", "SynchronousAck"),
    Cannot(
        "approving or rejecting join requests", "they can be listed, the decision has no call", "update_group_request"
    ),
    Cannot("who may add members, join approval mode", "no call", "member_add_mode"),
)
