"""What opens a file as it comes: right for every kind and every cut into pieces, and nothing that is not right."""

import hashlib
import hmac
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from hypothesis import given
from hypothesis import strategies as st

from bridge.engine.downloader.place import Place
from bridge.engine.downloader.sealed import OVERHEAD_BYTES, BadFile, reader
from bridge.sandbox.attachments import FILE_KINDS
from tests.support import mediahost

KINDS = ("image", "video", "audio", "document", "sticker")
CONTENT = bytes(range(256)) * 5


def opened(at: Place, *pieces: bytes) -> bytes:
    one = reader(at.media_key, at.info, sealed_sha256=at.sealed_sha256, sha256=at.sha256)
    return b"".join([*(one.take(piece) for piece in pieces), one.end()])


def of(sealed: bytes, at: Place) -> Place:
    """Return a place that expects just that sealed form."""
    return replace(at, sealed_sha256=hashlib.sha256(sealed).digest())


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_of_every_kind_opens_with_the_keys_of_its_kind_alone(kind: str) -> None:
    sealed, said = mediahost.sealed(CONTENT, kind)
    assert opened(mediahost.place(said, kind=kind), sealed) == CONTENT
    for other in KINDS:
        if FILE_KINDS[other].info != FILE_KINDS[kind].info:
            with pytest.raises(BadFile, match="invalid media hmac"):
                opened(mediahost.place(said, kind=other), sealed)


@given(content=st.binary(max_size=100), cuts=st.lists(st.integers(0, 126), max_size=8))
def test_how_it_comes_in_pieces_makes_no_difference(content: bytes, cuts: list[int]) -> None:
    sealed, said = mediahost.sealed(content)
    assert 0 < len(sealed) - len(content) <= OVERHEAD_BYTES
    ends = sorted(min(cut, len(sealed)) for cut in cuts)
    pieces = [sealed[start:stop] for start, stop in zip([0, *ends], [*ends, len(sealed)], strict=True)]
    assert opened(mediahost.place(said), *pieces) == content


@pytest.mark.parametrize("size", [0, 1, 10])
def test_what_is_no_longer_than_a_mac_is_too_short(size: int) -> None:
    sealed, said = mediahost.sealed(CONTENT)
    with pytest.raises(BadFile, match="file too short"):
        opened(of(sealed[:size], mediahost.place(said)), sealed[:size])


def test_what_is_cut_off_or_changed_is_refused_by_the_hash_and_with_a_hash_to_match_by_the_mac() -> None:
    sealed, said = mediahost.sealed(CONTENT)
    at = mediahost.place(said)
    for wrong in (sealed[:-1], sealed[:-16], bytes([sealed[0] ^ 1]) + sealed[1:], sealed[:-1] + b"x", sealed + b"x"):
        with pytest.raises(BadFile, match="hash of media ciphertext"):
            opened(at, wrong)
        with pytest.raises(BadFile, match="invalid media hmac"):
            opened(of(wrong, at), wrong)


def test_another_content_than_the_message_says_is_refused() -> None:
    sealed, said = mediahost.sealed(CONTENT)
    with pytest.raises(BadFile, match="hash of media plaintext"):
        opened(replace(mediahost.place(said), sha256=bytes(32)), sealed)


def test_a_file_that_is_not_sealed_is_checked_by_its_hash_and_its_key_does_not_count() -> None:
    _, said = mediahost.sealed(CONTENT)
    at = replace(mediahost.place(said), sealed_sha256=b"")
    assert opened(at, CONTENT[:7], CONTENT[7:]) == CONTENT
    for wrong in (CONTENT + b"x", CONTENT[:-1]):
        with pytest.raises(BadFile, match="hash of unencrypted media"):
            opened(at, wrong)


def test_without_the_hash_or_the_key_nothing_is_right() -> None:
    sealed, said = mediahost.sealed(CONTENT)
    at = mediahost.place(said)
    with pytest.raises(BadFile, match="hash of media plaintext"):
        opened(replace(at, sha256=b""), sealed)
    with pytest.raises(BadFile, match="invalid media hmac"):
        opened(replace(at, media_key=b""), sealed)


@pytest.mark.parametrize("body", [bytes(32), b"x" * 31 + b"\x11", b"x" * 30 + b"\x01\x02", None])
def test_a_wrong_filling_under_a_right_mac_is_refused(body: bytes | None) -> None:
    _, said = mediahost.sealed(CONTENT)
    at = mediahost.place(said)
    derived = HKDF(hashes.SHA256(), 112, salt=None, info=at.info.encode()).derive(at.media_key)
    iv, key, mac_key = derived[:16], derived[16:48], derived[48:80]
    encryptor = Cipher(algorithms.AES(key), modes.CBC(iv)).encryptor()
    cipher = b"x" * 17 if body is None else encryptor.update(body) + encryptor.finalize()  # 17: no whole blocks
    sealed = cipher + hmac.digest(mac_key, iv + cipher, "sha256")[:10]
    with pytest.raises(BadFile, match="failed to decrypt file"):
        opened(of(sealed, at), sealed)


def test_the_words_for_a_file_that_is_not_what_it_should_be_end_its_download() -> None:
    from bridge.domain.media import Over, after_failure

    for reason in ("hash of media ciphertext doesn't match", "invalid media hmac", "hash of media plaintext doesn't"):
        assert after_failure(f"x: {reason}", attempts=1, gone=0, jitter=0) == Over("failed")
