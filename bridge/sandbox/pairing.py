"""Links a new device to an account: the QR code, the signatures of both sides, and the reconnection that follows.

client   registers with its public keys
server   pair-device with references; the client shows a QR of reference, its keys, and a secret
phone    scans it (`scan`): signs the device's identity with the account's, proves by HMAC that it saw the secret
server   pair-success with both
client   pair-device-sign: its own signature over the same
server   stream:error 515; the client comes back and logs in
"""

import base64
import hashlib
import hmac
import secrets
import time
from dataclasses import dataclass, field
from typing import Final, Protocol

import structlog
import trio

from bridge.errors import BridgeError
from bridge.protos import adv, wa6
from bridge.sandbox.accounts import Account, Accounts, Device, SignedPrekey
from bridge.sandbox.keys import xeddsa_sign, xeddsa_verify
from bridge.sandbox.nodes import SERVER, Node
from bridge.sandbox.relay import Attrs, new_stanza_id, now_text

log = structlog.get_logger()

_REFERENCES: Final = 6
_SIGNED_BY_ACCOUNT: Final = b"\x06\x00"
_SIGNED_BY_DEVICE: Final = b"\x06\x01"
_RESTART_REQUIRED: Final = "515"


class UnknownQr(BridgeError):
    """No client is showing this QR code now."""

    code = "unknown_qr"
    status = 404


class PairingFailed(BridgeError):
    """The client did not finish the pairing."""

    code = "pairing_failed"
    status = 409


class Candidate(Protocol):
    """A connection whose client wants to be linked."""

    noise_key: bytes

    def send(self, node: Node) -> None: ...

    def close_soon(self) -> None: ...


@dataclass(slots=True, eq=False)
class _Attempt:
    """A client that shows QR codes. `device` is there once a phone has scanned one."""

    link: Candidate
    registration: "wa6.ClientPayload.DevicePairingRegistrationData"
    references: list[str]
    query_id: str = ""
    device: Device | None = None
    ended: trio.Event = field(default_factory=trio.Event)
    failure: str = "the connection ended"
    account_details: bytes = b""
    since: float = field(default_factory=time.time)
    qr: str = ""
    """The code's text, once somebody has shown it: it has a secret of the client's that the server never sees."""
    name: str = ""


@dataclass(frozen=True, slots=True)
class Waiting:
    """A client that waits to be scanned. `since` is in seconds since 1970."""

    reference: str
    name: str
    since: float
    qr: str


class Pairing:
    """The clients that wait to be linked."""

    def __init__(self, accounts: Accounts) -> None:
        self._accounts = accounts
        self._by_reference: dict[str, _Attempt] = {}
        self._by_link: dict[Candidate, _Attempt] = {}

    def offer(self, link: Candidate, registration: "wa6.ClientPayload.DevicePairingRegistrationData") -> None:
        """Send a client the references for its QR codes."""
        references = ["2@" + base64.b64encode(secrets.token_bytes(48)).decode() for _ in range(_REFERENCES)]
        attempt = _Attempt(link, registration, references)
        self._by_link[link] = attempt
        self._by_reference.update(dict.fromkeys(references, attempt))
        content = [Node("ref", {}, reference.encode()) for reference in references]
        attrs: Attrs = {"from": SERVER, "type": "set", "id": new_stanza_id(), "xmlns": "md"}
        link.send(Node("iq", attrs, [Node("pair-device", {}, content)]))

    def forget(self, link: Candidate) -> None:
        """Drop a client whose connection ended; a pairing that it had not finished has failed."""
        attempt = self._by_link.pop(link, None)
        if attempt is not None:
            for reference in attempt.references:
                self._by_reference.pop(reference, None)
            attempt.ended.set()

    def show(self, qr: str, name: str) -> None:
        """Take note of the code that a client shows, so that it can be scanned from here; raise `UnknownQr`."""
        attempt = self._by_reference.get(_parse(qr)[0])
        if attempt is None or attempt.device is not None:
            raise UnknownQr
        attempt.qr, attempt.name = qr, name

    def waiting(self) -> list[Waiting]:
        """Return the clients that wait to be scanned, the one that has waited longest first."""
        open_ = [attempt for attempt in self._by_link.values() if attempt.device is None and attempt.references]
        return [Waiting(attempt.references[0], attempt.name, attempt.since, attempt.qr) for attempt in open_]

    def expire(self) -> int:
        """End the connections of all that wait: there are no more codes for them, as after minutes without a scan.

        Return how many they were. A client whose code was scanned is no longer among them.
        """
        waiting = [attempt for attempt in self._by_link.values() if attempt.device is None]
        for attempt in waiting:
            attempt.link.close_soon()
        return len(waiting)

    async def scan(self, qr: str, account: Account, timeout_s: float) -> Device:
        """Link the client that shows this QR to the account; return its device when both sides have signed.

        Raises `UnknownQr` for a code that nobody shows, `PairingFailed` when the client refuses or does not answer.
        """
        reference, noise, identity, secret = _parse(qr)
        attempt = self._by_reference.get(reference)
        if attempt is None or attempt.device is not None:
            raise UnknownQr
        if noise != attempt.link.noise_key or identity != attempt.registration.eIdent:
            raise UnknownQr("its keys are not those of the client")
        return await self.link(attempt.link, account, secret, timeout_s)

    async def link(self, link: Candidate, account: Account, secret: bytes, timeout_s: float) -> Device:
        """Link a waiting client to the account; return its device when both sides have signed.

        `secret` is what client and phone share. Raises `PairingFailed` when the client refuses or does not answer.
        """
        attempt = self._by_link.get(link)
        if attempt is None or attempt.device is not None:
            raise PairingFailed("the client waits no more")
        device = self.approve(link, account, secret)
        with trio.move_on_after(timeout_s):
            await attempt.ended.wait()
        if attempt.failure:
            raise PairingFailed(attempt.failure if attempt.ended.is_set() else "no answer in time")
        return device

    def approve(self, link: Candidate, account: Account, secret: bytes) -> Device:
        """Send `pair-success`: the account's signature on the device, and the proof of the shared secret."""
        attempt = self._by_link[link]
        device = _device(account, attempt)
        attempt.device = device
        attempt.query_id = new_stanza_id()
        attempt.account_details = adv.ADVDeviceIdentity(
            rawID=int.from_bytes(hashlib.sha256(account.phone.encode()).digest()[:3], "big"),
            timestamp=int(time.time()),
            keyIndex=device.number,
        ).SerializeToString()
        signed = _SIGNED_BY_ACCOUNT + attempt.account_details + device.identity
        identity = adv.ADVSignedDeviceIdentity(
            details=attempt.account_details,
            accountSignatureKey=account.identity.public,
            accountSignature=xeddsa_sign(account.identity.private, signed),
        ).SerializeToString()
        proof = adv.ADVSignedDeviceIdentityHMAC(
            details=identity, HMAC=hmac.digest(secret, identity, "sha256")
        ).SerializeToString()
        content = [
            Node("device-identity", {}, proof),
            Node("device", {"jid": device.jid, "lid": device.lid}),
            Node("platform", {"name": "android"}),
            Node("biz", {"name": account.name}),
        ]
        attrs: Attrs = {"from": SERVER, "type": "set", "id": attempt.query_id, "xmlns": "md", "t": now_text()}
        link.send(Node("iq", attrs, [Node("pair-success", {}, content)]))
        return device

    def answered(self, link: Candidate, node: Node) -> Device | None:
        """Take the client's answer to `pair-success`; return the device that is linked by it, None if it is another's.

        The client then is told to restart its connection, which ends the pairing.
        """
        attempt = self._by_link.get(link)
        if attempt is None or attempt.device is None or node.text("id") != attempt.query_id:
            return None
        signed = node.child("pair-device-sign", "device-identity")
        device = attempt.device
        if signed is None:
            attempt.failure = "the client refused"
        elif not _signed_by(device, attempt.account_details, signed.data()):
            attempt.failure = "the client's signature is wrong"
        else:
            attempt.failure = ""
            self._accounts.save(device.account)
            self._accounts.add_device(device)
            link.send(Node("stream:error", {"code": _RESTART_REQUIRED}))
            link.close_soon()
        log.info("sandbox.pairing_ended", device=device.name, failure=attempt.failure)
        attempt.ended.set()
        return None if attempt.failure else device


def _parse(qr: str) -> tuple[str, bytes, bytes, bytes]:
    """Return reference, Noise key, identity key and secret of a QR's text."""
    parts = qr.rpartition("#")[2].strip().split(",")
    if len(parts) < 4:
        raise UnknownQr("it is not the text of a linking code")
    try:
        noise, identity, secret = (base64.b64decode(part, validate=True) for part in parts[1:4])
    except ValueError as error:
        raise UnknownQr("it is not the text of a linking code") from error
    return parts[0], noise, identity, secret


def _device(account: Account, attempt: _Attempt) -> Device:
    registration = attempt.registration
    number = account.next_device
    account.next_device += 1
    signed = SignedPrekey(registration.eSkeyID, registration.eSkeyVal, registration.eSkeySig)
    return Device(account, number, registration.eIdent, registration.eRegid, signed, attempt.link.noise_key)


def _signed_by(device: Device, details: bytes, answer: bytes) -> bool:
    identity = adv.ADVSignedDeviceIdentity.FromString(answer)
    account_key = device.account.identity.public
    message = _SIGNED_BY_DEVICE + details + device.identity + account_key
    return bool(identity.details == details) and xeddsa_verify(device.identity, message, identity.deviceSignature)
