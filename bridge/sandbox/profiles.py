"""What an account has set about itself: business name, picture, privacy, timers; and what its owner changes of it.

The name, the about text and the id of the picture are the account's own (`accounts.py`). Whoever knows an account
hears of a new picture, and its own linked devices of a change in its settings, by notifications.
"""

import hashlib
import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Final

from bridge.errors import BridgeError
from bridge.protos import vname
from bridge.sandbox.accounts import Account, Accounts, Device
from bridge.sandbox.nodes import Jid, Node
from bridge.sandbox.relay import Attrs, Relay, new_stanza_id, now_text
from bridge.sandbox.state import State

PRIVACY: Final[Mapping[str, tuple[str, ...]]] = {
    "last": ("all", "contacts", "contact_blacklist", "none"),
    "status": ("all", "contacts", "contact_blacklist", "none"),
    "profile": ("all", "contacts", "contact_blacklist", "none"),
    "readreceipts": ("all", "none"),
    "groupadd": ("all", "contacts", "contact_blacklist", "none"),
    "online": ("all", "match_last_seen"),
    "calladd": ("all", "known"),
    "messages": ("all", "contacts"),
}
"""The settings with their values (whatsmeow, `types/user.go`). The first value is what a new account has."""
MAX_PICTURE_BYTES: Final = 1 << 20
_PICTURE_PATH: Final = "/v/picture/"
PICTURE_HOST: Final = "pps.whatsapp.net"


class BadSetting(BridgeError):
    """There is no such setting or value."""

    code = "bad_setting"
    status = 400


@dataclass(slots=True)
class Profile:
    """An account's settings."""

    verified_name: str = ""
    """The name of a business that WhatsApp has verified; empty for a person."""
    privacy: dict[str, str] = field(default_factory=lambda: {name: values[0] for name, values in PRIVACY.items()})
    disappearing_s: int = 0
    disappearing_at: int = 0


class Profiles:
    """The settings of all accounts, in the state."""

    def __init__(self, state: State, accounts: Accounts, relay: Relay) -> None:
        self._state = state
        self._accounts = accounts
        self._relay = relay
        self._profiles: dict[str, Profile] = {
            phone: Profile(**json.loads(body)) for phone, body in state.rows("SELECT phone, body FROM profile")
        }

    def of(self, account: Account) -> Profile:
        """Return the settings of an account; call `save` after changing them."""
        return self._profiles.setdefault(account.phone, Profile())

    def save(self, account: Account) -> None:
        body = json.dumps(asdict(self.of(account)))
        self._state.run("INSERT OR REPLACE INTO profile VALUES (?, ?)", account.phone, body)

    def set_about(self, account: Account, about: str) -> None:
        """Change the about text, and tell those who know the account."""
        account.about = about
        self._accounts.save(account)
        for device in self._knowing(account):
            self._notify(device, account.lid, "status", [Node("set", {}, about.encode())])

    def set_verified_name(self, account: Account, name: str) -> None:
        """Make the account a business with a verified name, or a person again with an empty one."""
        self.of(account).verified_name = name
        self.save(account)

    def set_picture(self, account: Account, picture: bytes | None) -> str | None:
        """Change or remove the profile picture, tell those who know the account, and return the picture's id."""
        if picture is None:
            account.picture = None
            change = Node("delete", {"jid": account.lid})
        else:
            account.picture = self.keep_picture(picture)
            change = Node("set", {"jid": account.lid, "id": account.picture, "author": account.lid})
        self._accounts.save(account)
        for device in self._knowing(account):
            self._notify(device, account.lid, "picture", [change])
        return account.picture

    def keep_picture(self, picture: bytes) -> str:
        """Keep a picture; return its id."""
        picture_id = str(int.from_bytes(hashlib.sha256(picture).digest()[:5], "big"))
        self._state.run("INSERT OR REPLACE INTO picture VALUES (?, ?)", picture_id, picture)
        return picture_id

    def picture(self, path: str) -> bytes | None:
        """Return the picture behind the path of its URL, None where there is none."""
        if not path.startswith(_PICTURE_PATH):
            return None
        row = self._state.one("SELECT body FROM picture WHERE id = ?", path.removeprefix(_PICTURE_PATH))
        return None if row is None else bytes(row[0])

    def set_privacy(self, account: Account, name: str, value: str, by: Device | None = None) -> None:
        """Change one privacy setting and tell the account's other devices; raise `BadSetting`."""
        if value not in PRIVACY.get(name, ()):
            raise BadSetting(f"{name}={value}")
        self.of(account).privacy[name] = value
        self.save(account)
        category = Node("category", {"name": name, "value": value})
        self._sync(account, Node("privacy", {}, [category]), by)

    def set_default_timer(self, account: Account, seconds: int) -> None:
        """Change after how long messages of new chats disappear; 0: never."""
        profile = self.of(account)
        profile.disappearing_s, profile.disappearing_at = seconds, int(time.time())
        self.save(account)

    def set_blocked(self, account: Account, other: Jid, blocked: bool, by: Device | None = None) -> None:
        """Block or unblock somebody (a LID) and tell the account's other devices."""
        if blocked == (other in account.blocked):
            return
        before = block_hash(account)
        if blocked:
            account.blocked.append(other)
        else:
            account.blocked.remove(other)
        self._accounts.save(account)
        item = Node("item", {"jid": other, "action": "block" if blocked else "unblock"})
        attrs: Attrs = {"action": "modify", "dhash": block_hash(account), "prev_dhash": before}
        self._sync(account, Node("blocklist", attrs, [item]), by)

    def tell_app_state(self, account: Account, collection: str, version: int, by: Device | None = None) -> None:
        """Tell the account's clients, but the one that did it, that a collection of its app state has a new step."""
        for device in account.linked():
            if device is not by:
                step = Node("collection", {"name": collection, "version": str(version)})
                self._notify(device, Jid("", account.jid.server), "server_sync", [step])

    def _knowing(self, account: Account) -> list[Device]:
        """Return the clients that know an account: they have asked for it, or are its own."""
        return list({*account.listed_by, *account.linked()})

    def _sync(self, account: Account, change: Node, by: Device | None) -> None:
        for device in account.linked():
            if device is not by:
                self._notify(device, account.jid, "account_sync", [change])

    def _notify(self, device: Device, sender: Jid, kind: str, content: list[Node]) -> None:
        attrs: Attrs = {"from": sender, "type": kind, "id": new_stanza_id(), "t": now_text()}
        self._relay.deliver(device, Node("notification", attrs, content))


def block_hash(account: Account) -> str:
    """Return what tells one block list from another."""
    return hashlib.sha256(" ".join(sorted(str(jid) for jid in account.blocked)).encode()).hexdigest()[:16]


def picture_url(picture: str) -> tuple[str, str]:
    """Return where a picture can be fetched, through the sandbox's proxy: its URL and the path in it."""
    path = _PICTURE_PATH + picture
    return f"https://{PICTURE_HOST}{path}", path


def certificate(name: str) -> bytes:
    """Return a business's certificate of its name. Its signature is empty: no client checks it."""
    details = vname.VerifiedNameCertificate.Details(
        serial=int.from_bytes(hashlib.sha256(name.encode()).digest()[:6], "big"), issuer="smb:wa", verifiedName=name
    )
    return bytes(vname.VerifiedNameCertificate(details=details.SerializeToString()).SerializeToString())
