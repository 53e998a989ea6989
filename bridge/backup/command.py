"""The commands: find the database, ask for the passphrase, tell how it goes."""

import argparse
import getpass
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bridge.backup.run import Progress, restore_backup, write_backup
from bridge.backup.seal import BadBackup
from bridge.commands.output import note, show_fields, show_json
from bridge.config import BadSetting, Settings
from bridge.store import embedded
from bridge.store.errors import DataDirectoryBusy

PASSPHRASE = "BRIDGE_BACKUP_PASSPHRASE"  # noqa: S105  # the name of the variable
PASSPHRASE_FILE = "BRIDGE_BACKUP_PASSPHRASE_FILE"  # noqa: S105
PASSPHRASE_MIN = 12


def backup(given: argparse.Namespace, settings: Settings) -> int:
    passphrase = _passphrase(twice=True)
    with _database(settings, running=True) as dsn:
        summary = write_backup(dsn, settings.data_dir, given.file, passphrase, _progress(given))
    _tell(given, {"status": "backed_up", "file": str(given.file), **summary.as_dict()})
    if "main-key" not in summary.files:
        note("The main key is not in the backup: keep BRIDGE_MAIN_KEY elsewhere.")
    return 0


def restore(given: argparse.Namespace, settings: Settings) -> int:
    if not given.file.is_file():
        raise BadBackup(f"there is no file {given.file}.")
    passphrase = _passphrase(twice=False)
    settings.data_dir.mkdir(mode=0o711, parents=True, exist_ok=True)
    with _database(settings, running=False) as dsn:
        summary = restore_backup(dsn, settings.data_dir, given.file, passphrase, _progress(given))
    _tell(given, {"status": "restored", "file": str(given.file), **summary.as_dict()})
    return 0


@contextmanager
def _database(settings: Settings, *, running: bool) -> Iterator[str]:
    """Lend the URL of the database; the embedded one is started for as long as it takes, or used as it runs."""
    if settings.database_url:
        yield settings.database_url
        return
    state_dir = settings.data_dir / "postgres"
    if running and not state_dir.exists():
        raise BadSetting(f"There is no database in {settings.data_dir}; set BRIDGE_DATABASE_URL or --data-dir.")
    try:
        started = embedded.start(state_dir)
    except DataDirectoryBusy:
        if not running:
            raise
        yield embedded.running_dsn(state_dir)
        return
    try:
        yield started.dsn
    finally:
        embedded.stop(started)


def _passphrase(*, twice: bool) -> str:
    """Return what the environment, a file, or the person at the terminal says."""
    text = os.environ.get(PASSPHRASE, "")
    if not text and PASSPHRASE_FILE in os.environ:
        try:
            text = Path(os.environ[PASSPHRASE_FILE]).read_text().strip()
        except OSError as error:
            raise BadSetting(f"{PASSPHRASE_FILE} can't be read: {error.strerror}.") from None
    if not text and sys.stdin.isatty():
        text = getpass.getpass("Passphrase of the backup: ")
        if twice and getpass.getpass("Again: ") != text:
            raise BadSetting("The two passphrases differ.")
    if len(text) < PASSPHRASE_MIN:
        raise BadSetting(f"{PASSPHRASE}, or what {PASSPHRASE_FILE} names, must have {PASSPHRASE_MIN} characters.")
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
    else:
        show_fields(done)
