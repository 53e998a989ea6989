"""Pairing by code: the phone's owner types eight characters that the client shows, instead of scanning a QR code.

client   companion_hello: a key of the moment, wrapped with the code (PBKDF2, AES-CTR), for a phone number
server   a reference; the phone may show a notification
phone    types the code (`enter`), which unwraps that key; sends one of its own, wrapped the same way (primary_hello)
client   companion_finish: both identity keys and random bytes, encrypted with what the two keys agree on (AES-GCM)
phone    opens it, derives from all of that the secret of `pair-success`, and the pairing goes on as behind a QR code

Read from whatsmeow's `pair-code.go` and checked against the client itself. A wrong code shows when the bundle does not
open; the client cannot tell, so that the owner may type again.
"""

import hashlib
import re
import secrets
from dataclasses import dataclass, field
from typing import Final

import structlog
import trio
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from bridge.errors import BridgeError
from bridge.sandbox.accounts import Account, Device
from bridge.sandbox.answers import data_of, refusal, result
from bridge.sandbox.keys import KeyPair, hkdf
from bridge.sandbox.nodes import SERVER, Node
from bridge.sandbox.pairing import Candidate, Pairing, PairingFailed
from bridge.sandbox.relay import Attrs, new_stanza_id, now_text

log = structlog.get_logger()

REGISTRATION: Final = "link_code_companion_reg"
_ROUNDS: Final = 131_072
_SALT, _IV, _KEY, _NONCE = 32, 16, 32, 12
_WRAPPED: Final = _SALT + _IV + _KEY
_DISPLAY: Final = re.compile(r"(Chrome|Edge|Firefox|IE|Opera|Safari|Electron|UWP|Other) \([^()]+\)", re.IGNORECASE)
"""What a client may call itself: browser (system); WhatsApp refuses others (whatsmeow, comment on `PairPhone`)."""


class NoCodeAsked(BridgeError):
    """No client waits for this phone to enter a code."""

    code = "no_code_asked"
    status = 404


class WrongCode(BridgeError):
    """The code is not the one that the client shows."""

    code = "wrong_code"
    status = 409


@dataclass(slots=True, eq=False)
class Asked:
    """A client that has shown a code for a number. `shared` is there once the phone has answered."""

    link: Candidate
    phone: str
    reference: bytes
    wrapped: bytes
    display: str
    notify: bool
    """Whether the phone is to show a notification about it."""
    shared: bytes = b""
    bundle: bytes = b""
    finished: trio.Event = field(default_factory=trio.Event)


class LinkCodes:
    """The codes that clients show at the moment, by the number that they are for."""

    def __init__(self, pairing: Pairing) -> None:
        self._pairing = pairing
        self._by_phone: dict[str, Asked] = {}

    def asked(self, phone: str) -> Asked | None:
        """Return who waits for this phone to enter a code."""
        return self._by_phone.get(phone)

    def forget(self, link: Candidate) -> None:
        """Drop the code of a client whose connection ended."""
        for asked in [asked for asked in self._by_phone.values() if asked.link is link]:
            del self._by_phone[asked.phone]
            asked.finished.set()

    def answer(self, link: Candidate, node: Node) -> Node:
        """Answer a client's query about a code; one that is not linked yet has no other queries."""
        registration = node.child(REGISTRATION)
        if registration is None:
            return refusal(node, 400, "bad-request")
        if registration.text("stage") == "companion_hello":
            return self._hello(link, node, registration)
        return self._finish(link, node, registration)

    def _hello(self, link: Candidate, node: Node, registration: Node) -> Node:
        jid = registration.jid("jid")
        wrapped = data_of(registration, "link_code_pairing_wrapped_companion_ephemeral_pub")
        display = data_of(registration, "companion_platform_display").decode(errors="replace")
        if jid is None or len(wrapped) != _WRAPPED or not _DISPLAY.fullmatch(display):
            return refusal(node, 400, "bad-request")
        notify = registration.text("should_show_push_notification") == "true"
        asked = Asked(link, jid.user, secrets.token_bytes(16), wrapped, display, notify)
        self.forget(link)
        self._by_phone[asked.phone] = asked
        reference = Node("link_code_pairing_ref", {}, asked.reference)
        return result(node, [Node(REGISTRATION, {"stage": "companion_hello"}, [reference])])

    def _finish(self, link: Candidate, node: Node, registration: Node) -> Node:
        reference = data_of(registration, "link_code_pairing_ref")
        asked = next((one for one in self._by_phone.values() if one.link is link), None)
        if asked is None or asked.reference != reference:
            return refusal(node, 404, "item-not-found")
        asked.bundle = data_of(registration, "link_code_pairing_wrapped_key_bundle")
        asked.finished.set()
        return result(node)

    async def enter(self, code: str, account: Account, timeout_s: float) -> Device:
        """Link the client that shows this code for the account; return its device when both sides have signed.

        Raises `NoCodeAsked`, `WrongCode` (the client still waits), and `PairingFailed` when it does not answer.
        """
        asked = self._by_phone.get(account.phone)
        if asked is None:
            raise NoCodeAsked(account.phone)
        typed = code.strip().upper().replace("-", "").encode()
        asked.finished = trio.Event()
        with trio.move_on_after(timeout_s):
            asked.shared, ours = await trio.to_thread.run_sync(_greet, typed, asked.wrapped)
            self._send_hello(asked, account, ours)
            await asked.finished.wait()
        if self._by_phone.get(account.phone) is not asked or not asked.bundle:
            raise PairingFailed("the client did not answer")
        bundle, asked.bundle = asked.bundle, b""
        secret = _open(asked, account, bundle)
        log.info("sandbox.code_entered", phone=account.phone)
        return await self._pairing.link(asked.link, account, secret, timeout_s)

    def _send_hello(self, asked: Asked, account: Account, wrapped: bytes) -> None:
        content = [
            Node("link_code_pairing_wrapped_primary_ephemeral_pub", {}, wrapped),
            Node("primary_identity_pub", {}, account.identity.public),
            Node("link_code_pairing_ref", {}, asked.reference),
        ]
        attrs: Attrs = {"from": SERVER, "type": REGISTRATION, "id": new_stanza_id(), "t": now_text()}
        hello = Node(REGISTRATION, {"stage": "primary_hello"}, content)
        asked.link.send(Node("notification", attrs, [hello]))


def _greet(code: bytes, wrapped: bytes) -> tuple[bytes, bytes]:
    """Return what our new key agrees on with the wrapped one, and our key wrapped; takes about 0.1 s."""
    theirs = _crypt(code, wrapped[:_SALT], wrapped[_SALT : _SALT + _IV], wrapped[_SALT + _IV :])
    ours = KeyPair()
    salt, iv = secrets.token_bytes(_SALT), secrets.token_bytes(_IV)
    return ours.agree(theirs), salt + iv + _crypt(code, salt, iv, ours.public)


def _crypt(code: bytes, salt: bytes, iv: bytes, key: bytes) -> bytes:
    """Wrap or unwrap a public key with the code: in counter mode both are the same."""
    cipher = Cipher(algorithms.AES(hashlib.pbkdf2_hmac("sha256", code, salt, _ROUNDS, 32)), modes.CTR(iv))
    return cipher.encryptor().update(key)


def _open(asked: Asked, account: Account, bundle: bytes) -> bytes:
    """Return the secret of the pairing from the client's bundle; raise `WrongCode` when it does not open."""
    salt, nonce, sealed = bundle[:_SALT], bundle[_SALT : _SALT + _NONCE], bundle[_SALT + _NONCE :]
    key = hkdf(asked.shared, salt, b"link_code_pairing_key_bundle_encryption_key", 32)
    try:
        plain = AESGCM(key).decrypt(nonce, sealed, None)
    except (InvalidTag, ValueError) as error:
        raise WrongCode from error
    identity, primary, random = plain[:_KEY], plain[_KEY : 2 * _KEY], plain[2 * _KEY :]
    if primary != account.identity.public:
        raise WrongCode("it was made for another phone")
    return hkdf(asked.shared + account.identity.agree(identity) + random, b"", b"adv_secret", 32)
