"""Secrets at rest: what is sealed opens only with its key and for its purpose, and moves to a new key."""

import base64
from pathlib import Path

import pytest

from bridge.vault import MAGIC, BadMainKey, SecretUnreadable, Vault, open_vault, read_key

OLD, NEW = b"o" * 32, b"n" * 32
SECRET = b"the secret of an endpoint"


def test_a_sealed_value_does_not_show_what_it_holds_and_opens_again() -> None:
    vault = Vault(OLD)
    first, second = vault.seal(SECRET, "a"), vault.seal(SECRET, "a")
    assert first != second
    assert SECRET not in first
    assert vault.open(first, "a") == vault.open(second, "a") == SECRET
    assert vault.open(first, "a") == SECRET  # the kept one


def test_a_value_opens_for_its_own_purpose_only() -> None:
    vault = Vault(OLD)
    sealed = vault.seal(SECRET, "endpoint/1/secret")
    vault.open(sealed, "endpoint/1/secret")
    with pytest.raises(SecretUnreadable):
        vault.open(sealed, "endpoint/2/secret")


@pytest.mark.parametrize("place", [5, 15, 30, -1])
def test_a_value_that_was_changed_does_not_open(place: int) -> None:
    vault = Vault(OLD)
    sealed = bytearray(vault.seal(SECRET, "a"))
    sealed[place] ^= 1
    with pytest.raises(SecretUnreadable):
        vault.open(bytes(sealed), "a")


def test_an_older_key_opens_and_the_new_one_seals() -> None:
    sealed = Vault(OLD).seal(SECRET, "a")
    vault = Vault(NEW, [OLD])
    assert vault.open(sealed, "a") == SECRET
    assert not vault.current(sealed)
    assert vault.current(vault.seal(SECRET, "a"))
    with pytest.raises(SecretUnreadable):
        Vault(NEW).open(sealed, "a")
    with pytest.raises(SecretUnreadable):
        Vault(NEW).open(MAGIC, "a")


def test_what_was_plain_comes_back_as_it_is_and_is_not_current() -> None:
    assert Vault(OLD).open(SECRET, "a") == SECRET
    assert not Vault(OLD).current(SECRET)


def test_the_key_is_made_once_for_its_owner_only(tmp_path: Path) -> None:
    file = tmp_path / "data" / "main-key"
    first, second = open_vault("", (), file), open_vault("", (), file)
    assert file.stat().st_mode & 0o777 == 0o600
    assert second.open(first.seal(SECRET, "a"), "a") == SECRET
    assert file.read_text().strip() not in repr(first)


def test_a_key_that_is_given_is_used_and_none_is_made(tmp_path: Path) -> None:
    vault = open_vault(NEW.hex(), [base64.b64encode(OLD).decode()], tmp_path / "main-key")
    assert vault.open(Vault(OLD).seal(SECRET, "a"), "a") == SECRET
    assert vault.key_id == Vault(NEW).key_id
    assert not (tmp_path / "main-key").exists()


@pytest.mark.parametrize("text", ["", "short", "zz" * 32, base64.b64encode(b"k" * 31).decode(), "ü" * 32])
def test_a_key_of_another_form_is_refused(text: str) -> None:
    with pytest.raises(BadMainKey):
        read_key(text)
