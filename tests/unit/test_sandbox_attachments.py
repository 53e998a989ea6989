"""How files are sealed and opened, and what votes look like: pure, and refused when anything was changed."""

import hashlib
import io

import pytest

from bridge.protos import e2e
from bridge.sandbox.attachments import FILE_KINDS, MAC_BYTES, BadMedia, Sealed, open_sealed, seal
from bridge.sandbox.nodes import Jid
from bridge.sandbox.votes import Poll, open_vote, seal_vote

IMAGE = FILE_KINDS["image"]
ADA, BOB = Jid.parse("1@lid"), Jid.parse("2@lid")


def _sealed(content: bytes) -> tuple[bytes, Sealed]:
    target = io.BytesIO()
    said = seal(io.BytesIO(content), target, IMAGE)
    return target.getvalue(), said


def _opened(sealed: bytes, said: Sealed) -> bytes:
    content = io.BytesIO()
    open_sealed(io.BytesIO(sealed), len(sealed), content, said, IMAGE)
    return content.getvalue()


@pytest.mark.parametrize("size", [0, 1, 15, 16, 17, (1 << 20) - 1, (1 << 20) + 5])
def test_what_is_sealed_is_opened(size: int) -> None:
    content = bytes(index % 251 for index in range(size))
    sealed, said = _sealed(content)
    assert _opened(sealed, said) == content
    assert (said.size, said.sha256) == (size, hashlib.sha256(content).digest())
    assert said.sealed_sha256 == hashlib.sha256(sealed).digest()
    assert len(sealed) == size - size % 16 + 16 + MAC_BYTES


@pytest.mark.parametrize("at", [0, 20, -1])
def test_a_changed_byte_is_noticed(at: int) -> None:
    sealed, said = _sealed(b"some content that is longer than a block")
    changed = bytearray(sealed)
    changed[at] ^= 1
    with pytest.raises(BadMedia):
        _opened(bytes(changed), said)


@pytest.mark.parametrize("field", ["sha256", "sealed_sha256", "size", "media_key"])
def test_a_message_that_says_something_else_is_noticed(field: str) -> None:
    sealed, said = _sealed(b"content")
    values = {name: getattr(said, name) for name in ("media_key", "sha256", "sealed_sha256", "size")}
    values[field] = 1 if field == "size" else bytes(32)
    with pytest.raises(BadMedia):
        _opened(sealed, Sealed(**values))


@pytest.mark.parametrize("sealed", [b"", bytes(MAC_BYTES), bytes(MAC_BYTES + 15)])
def test_what_is_no_sealed_file_is_refused(sealed: bytes) -> None:
    with pytest.raises(BadMedia):
        _opened(sealed, _sealed(b"x")[1])


def test_another_kind_of_file_has_other_keys() -> None:
    sealed, said = _sealed(b"content")
    with pytest.raises(BadMedia):
        open_sealed(io.BytesIO(sealed), len(sealed), io.BytesIO(), said, FILE_KINDS["video"])


def _poll() -> Poll:
    options = [e2e.PollCreationMessage.Option(optionName=name) for name in ("yes", "no")]
    message = e2e.Message(pollCreationMessage=e2e.PollCreationMessage(name="?", options=options))
    message.messageContextInfo.messageSecret = bytes(range(32))
    return Poll("ID", ADA, message)


def test_a_vote_is_opened_by_who_knows_the_poll_and_the_voter() -> None:
    vote = seal_vote(_poll(), BOB, ["no"])
    assert open_vote(_poll(), [Jid.parse("3@lid"), BOB], [ADA], vote) == ["no"]


def test_a_vote_of_somebody_else_cannot_be_opened() -> None:
    vote = seal_vote(_poll(), BOB, ["no"])
    assert open_vote(_poll(), [ADA], [ADA], vote) is None
    vote.encPayload = bytes(20)
    assert open_vote(_poll(), [BOB], [ADA], vote) is None
