"""The commands: find the databases, ask for the passphrase, tell how it goes."""

import argparse
import getpass
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bridge.backup.run import Place, Progress, Summary, restore_backup, write_backup, write_to
from bridge.backup.seal import BadBackup
from bridge.commands.output import note, show_fields, show_json
from bridge.config import BadSetting, Settings
from bridge.store import embedded
from bridge.store.errors import DataDirectoryBusy

PASSPHRASE = "BRIDGE_BACKUP_PASSPHRASE"  # noqa: S105  # the name of the variable
RECEIVER_DATABASE_URL = "RECEIVER_DATABASE_URL"
PASSPHRASE_MIN = 12
STREAM = Path("-")
"""As FILE: stdout, or stdin."""


def backup(given: argparse.Namespace, settings: Settings) -> int:
    if given.file == STREAM and sys.stdout.isatty():
        raise BadSetting("A backup is no text: give it a file, or stdout another place than a terminal.")
    passphrase = _passphrase(twice=True)
    with _place(settings, running=True) as place:
        if given.file == STREAM:
            summary = write_to(place, sys.stdout.buffer, passphrase, _progress(given))
            sys.stdout.buffer.flush()
        else:
            summary = write_backup(place, given.file, passphrase, _progress(given))
    _tell(given, {"status": "backed_up", "file": str(given.file), **summary.as_dict()})
    for line in left_out(settings, summary):
        note(line)
    return 0


def left_out(settings: Settings, summary: Summary) -> Iterator[str]:
    """Yield what a backup made under these settings lacks, and what to do about it."""
    if settings.main_key:
        yield "The main key is not in the backup: keep BRIDGE_MAIN_KEY elsewhere."
    if settings.media_store:
        yield f"Files in {settings.media_store} are not in the backup: that bucket needs one of its own."
    if not summary.receiver:
        yield (
            "The receiver's events are not in the backup: they are not in this database. If there is a receiver of "
            f"ours with another one, name it in {RECEIVER_DATABASE_URL}."
        )


def restore(given: argparse.Namespace, settings: Settings) -> int:
    if given.file != STREAM and not given.file.is_file():
        raise BadBackup(f"there is no file {given.file}.")
    passphrase = _passphrase(twice=False)
    settings.data_dir.mkdir(mode=0o711, parents=True, exist_ok=True)
    source = sys.stdin.buffer if given.file == STREAM else given.file.open("rb")
    with source, _place(settings, running=False) as place:
        summary = restore_backup(place, source, passphrase, _progress(given), with_receiver=not given.without_receiver)
    _tell(given, {"status": "restored", "file": str(given.file), **summary.as_dict()})
    if summary.receiver and settings.database_url and place.receiver == place.dsn:
        note(
            "The receiver's events are in the same database now, in the schema receiver. For a receiver with another "
            f"database, name that in {RECEIVER_DATABASE_URL}."
        )
    return 0


@contextmanager
def _place(settings: Settings, *, running: bool) -> Iterator[Place]:
    """Lend the databases; the embedded one is started for as long as it takes, or used as it runs."""
    if settings.database_url:
        receiver = _given(RECEIVER_DATABASE_URL) or settings.database_url
        yield Place(settings.database_url, receiver, settings.data_dir)
        return
    state_dir = settings.data_dir / "postgres"
    if running and not state_dir.exists():
        raise BadSetting(f"There is no database in {settings.data_dir}; set BRIDGE_DATABASE_URL or --data-dir.")
    try:
        started = embedded.start(state_dir)
    except DataDirectoryBusy:
        if not running:
            raise
        beside = embedded.running_dsn(state_dir, embedded.RECEIVER_DATABASE)
        yield Place(embedded.running_dsn(state_dir), beside, settings.data_dir)
        return
    try:
        yield Place(started.dsn, started.database(embedded.RECEIVER_DATABASE), settings.data_dir)
    finally:
        embedded.stop(started)


def _given(name: str) -> str:
    """Return what a variable says, or the file that one with `_FILE` appended names; empty when neither is set."""
    if text := os.environ.get(name, ""):
        return text
    if file := os.environ.get(f"{name}_FILE", ""):
        try:
            return Path(file).read_text().strip()
        except OSError as error:
            raise BadSetting(f"{name}_FILE can't be read: {error.strerror}.") from None
    return ""


def _passphrase(*, twice: bool) -> str:
    """Return what the environment, a file, or the person at the terminal says."""
    text = _given(PASSPHRASE)
    if not text and sys.stdin.isatty():
        text = getpass.getpass("Passphrase of the backup: ")
        if twice and getpass.getpass("Again: ") != text:
            raise BadSetting("The two passphrases differ.")
    if len(text) < PASSPHRASE_MIN:
        raise BadSetting(
            f"{PASSPHRASE}, or what BRIDGE_BACKUP_PASSPHRASE_FILE names, must have {PASSPHRASE_MIN} characters."
        )
    return text


def _progress(given: argparse.Namespace) -> Progress:
    count = 0

    def show(name: str) -> None:
        nonlocal count
        count += 1
        if sys.stderr.isatty() and not given.json:
            sys.stderr.write(f"\r\x1b[K{count}  {name[:60]}")
            sys.stderr.flush()

    return show


def _tell(given: argparse.Namespace, done: dict[str, object]) -> None:
    if sys.stderr.isatty() and not given.json:
        sys.stderr.write("\r\x1b[K")
    if given.json:
        show_json(done)
    elif given.file == STREAM:
        note(", ".join(f"{name}: {value}" for name, value in done.items() if name != "file"))
    else:
        show_fields(done)
