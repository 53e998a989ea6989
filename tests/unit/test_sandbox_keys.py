"""Keys, signatures and HKDF against what the documents promise."""

import pytest

from bridge.sandbox.keys import KeyPair, hkdf, xeddsa_sign, xeddsa_verify


def test_both_sides_agree_on_one_secret() -> None:
    alice, bob = KeyPair(), KeyPair()
    assert alice.agree(bob.public) == bob.agree(alice.public)


def test_a_stored_pair_agrees_as_the_first_did() -> None:
    first, other = KeyPair(), KeyPair()
    assert KeyPair(first.private).public == first.public
    assert KeyPair(first.private, first.public).agree(other.public) == first.agree(other.public)


def test_a_point_of_small_order_is_refused() -> None:
    with pytest.raises(ValueError, match="shared key"):
        KeyPair().agree(bytes(32))


def test_a_key_pair_does_not_show_its_private_key() -> None:
    pair = KeyPair()
    assert pair.private.hex() not in repr(pair)


@pytest.mark.parametrize("_round", range(20))
def test_a_signature_is_its_signers_and_for_its_message_only(_round: int) -> None:
    pair = KeyPair()
    signature = xeddsa_sign(pair.private, b"message")
    assert xeddsa_verify(pair.public, b"message", signature)
    assert not xeddsa_verify(pair.public, b"another", signature)
    assert not xeddsa_verify(KeyPair().public, b"message", signature)
    assert not xeddsa_verify(pair.public, b"message", signature[:-1] + bytes((signature[-1] ^ 1,)))


def test_two_signatures_of_one_message_differ() -> None:
    private = KeyPair().private
    assert xeddsa_sign(private, b"m") != xeddsa_sign(private, b"m")


@pytest.mark.parametrize(
    ("public", "signature"),
    [
        (b"", bytes(64)),
        (bytes(32), b""),
        ((2**255 - 20).to_bytes(32, "little"), bytes(64)),
        (b"\xff" * 32, bytes(64)),
    ],
)
def test_what_is_no_key_or_no_signature_verifies_nothing(public: bytes, signature: bytes) -> None:
    assert not xeddsa_verify(public, b"message", signature)


def test_hkdf_gives_what_rfc_5869_appendix_a1_and_a3_say() -> None:
    ikm = b"\x0b" * 22
    assert hkdf(ikm, bytes(range(13)), bytes(range(0xF0, 0xFA)), 42).hex() == (
        "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865"
    )
    assert hkdf(ikm, b"", b"", 42).hex() == (
        "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8"
    )
