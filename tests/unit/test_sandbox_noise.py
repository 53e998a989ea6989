"""The server's side of the Noise handshake against a client that is written down here from the specification."""

import hashlib
import hmac

import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from bridge.sandbox.keys import KeyPair
from bridge.sandbox.noise import PROLOGUE, Cipher, HandshakeFailed, NoiseResponder, ServerHello


class Initiator:
    """Noise XX, the other side, sharing no code with ours but the key pairs."""

    def __init__(self, prologue: bytes = PROLOGUE) -> None:
        self.static, self.ephemeral = KeyPair(), KeyPair()
        self.chaining = self.transcript = self.key = b"Noise_XX_25519_AESGCM_SHA256\0\0\0\0"
        self.count = 0
        self.mix(prologue)

    def mix(self, data: bytes) -> bytes:
        self.transcript = hashlib.sha256(self.transcript + data).digest()
        return data

    def derive(self, secret: bytes) -> tuple[bytes, bytes]:
        temporary = hmac.digest(self.chaining, secret, "sha256")
        first = hmac.digest(temporary, b"\x01", "sha256")
        return first, hmac.digest(temporary, first + b"\x02", "sha256")

    def key_in(self, secret: bytes) -> None:
        self.chaining, self.key = self.derive(secret)
        self.count = 0

    def nonce(self) -> bytes:
        self.count += 1
        return bytes(4) + (self.count - 1).to_bytes(8, "big")

    def open(self, ciphertext: bytes) -> bytes:
        plaintext = AESGCM(self.key).decrypt(self.nonce(), ciphertext, self.transcript)
        self.mix(ciphertext)
        return plaintext

    def seal(self, plaintext: bytes) -> bytes:
        return self.mix(AESGCM(self.key).encrypt(self.nonce(), plaintext, self.transcript))

    def hello(self) -> bytes:
        return self.mix(self.ephemeral.public)

    def read(self, hello: ServerHello) -> tuple[bytes, bytes]:
        self.mix(hello.ephemeral)
        self.key_in(self.ephemeral.agree(hello.ephemeral))
        static = self.open(hello.static)
        self.key_in(self.ephemeral.agree(static))
        self.server_ephemeral = hello.ephemeral
        return static, self.open(hello.payload)

    def finish(self, payload: bytes) -> tuple[bytes, bytes]:
        static = self.seal(self.static.public)
        self.key_in(self.static.agree(self.server_ephemeral))
        return static, self.seal(payload)


def test_a_handshake_gives_both_sides_the_others_key_payload_and_ciphers() -> None:
    client, server, static = Initiator(), NoiseResponder(), KeyPair()
    assert client.read(server.answer(client.hello(), static, b"chain")) == (static.public, b"chain")
    assert server.accept(*client.finish(b"login")) == (client.static.public, b"login")
    receive, send = server.finish()
    to_server, to_client = (Cipher(key) for key in client.derive(b""))
    for number in range(3):
        text = b"%d" % number
        assert receive.decrypt(to_server.encrypt(text)) == text
        assert to_client.decrypt(send.encrypt(text)) == text


def test_another_prologue_ends_the_handshake() -> None:
    client, server = Initiator(b"WA\x06\x02"), NoiseResponder()
    hello = server.answer(client.hello(), KeyPair(), b"chain")
    with pytest.raises(InvalidTag):
        client.read(hello)


def test_a_login_that_was_tampered_with_is_refused() -> None:
    client, server = Initiator(), NoiseResponder()
    client.read(server.answer(client.hello(), KeyPair(), b"chain"))
    static, payload = client.finish(b"login")
    with pytest.raises(HandshakeFailed):
        server.accept(static, payload[:-1] + bytes((payload[-1] ^ 1,)))


def test_a_client_whose_key_is_no_key_is_refused() -> None:
    with pytest.raises(HandshakeFailed):
        NoiseResponder().answer(bytes(32), KeyPair(), b"chain")
    with pytest.raises(HandshakeFailed):
        NoiseResponder().answer(b"short", KeyPair(), b"chain")


def test_frames_out_of_order_are_refused() -> None:
    sender, receiver = Cipher(bytes(32)), Cipher(bytes(32))
    sender.encrypt(b"lost on the way")
    with pytest.raises(HandshakeFailed):
        receiver.decrypt(sender.encrypt(b"second"))
