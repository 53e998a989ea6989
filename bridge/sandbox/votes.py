"""How a poll's votes are sealed: whoever votes proves to have read the poll, and the server learns nothing.

A poll carries a secret of 32 bytes. From it, the poll's id and both addresses comes a key (HKDF, info ending in
`Poll Vote`); the vote is a list of SHA-256 hashes of the chosen options' names, sealed with AES-GCM. Read from
whatsmeow's `msgsecret.go`, and checked against the client itself.
"""

import hashlib
import secrets
from collections.abc import Iterable
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from bridge.protos import e2e
from bridge.sandbox.keys import hkdf
from bridge.sandbox.nodes import Jid
from bridge.sandbox.stanzas import poll_of, unwrap


@dataclass(frozen=True, slots=True)
class Poll:
    """A poll as one has to know it to vote in it. `author` is the address of who asked."""

    id: str
    author: Jid
    message: "e2e.Message"

    @property
    def secret(self) -> bytes:
        return bytes(self.message.messageContextInfo.messageSecret)

    def options(self) -> dict[bytes, str]:
        """Return the options' names by their hashes."""
        poll = poll_of(unwrap(self.message))
        names = [option.optionName for option in poll.options] if poll else []
        return {option_hash(name): name for name in names}


def option_hash(name: str) -> bytes:
    return hashlib.sha256(name.encode()).digest()


def seal_vote(poll: Poll, voter: Jid, chosen: Iterable[str]) -> "e2e.PollEncValue":
    """Return a vote for the options with these names; none of them takes an earlier vote back."""
    vote = e2e.PollVoteMessage(selectedOptions=[option_hash(name) for name in chosen])
    key, bound = _key(poll, poll.author, voter)
    iv = secrets.token_bytes(12)
    return e2e.PollEncValue(encIV=iv, encPayload=AESGCM(key).encrypt(iv, vote.SerializeToString(), bound))


def open_vote(poll: Poll, voters: Iterable[Jid], authors: Iterable[Jid], value: "e2e.PollEncValue") -> list[str] | None:
    """Return the names of the options that were chosen, None where the vote cannot be opened.

    A client may have used either of a person's two addresses, phone number or LID: all that are given are tried.
    """
    for voter in voters:
        for author in authors:
            key, bound = _key(poll, author, voter)
            try:
                plaintext = AESGCM(key).decrypt(value.encIV, value.encPayload, bound)
            except (InvalidTag, ValueError):
                continue
            names = poll.options()
            chosen = e2e.PollVoteMessage.FromString(plaintext).selectedOptions
            return [names.get(choice, choice.hex()) for choice in chosen]
    return None


def _key(poll: Poll, author: Jid, voter: Jid) -> tuple[bytes, bytes]:
    """Return the key of a vote, and what else it is bound to."""
    who = str(voter.bare())
    info = f"{poll.id}{author.bare()}{who}Poll Vote".encode()
    return hkdf(poll.secret, b"", info, 32), f"{poll.id}\0{who}".encode()
