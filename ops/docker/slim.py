"""Takes out of an image's packages what no process of ours reads: `python slim.py SITE_PACKAGES`, after the install.

Each row is a pattern and why it can go. A row that finds nothing is an error: a package has changed, so look again.
Then what is left is compiled, because the image can't be written to, and without times of files, because a copy from
stage to stage need not keep them.
"""

import compileall
import py_compile
import shutil
import subprocess
import sys
from pathlib import Path

UNREAD = {
    "phonenumbers/geodata": "which town a number is in; neonize reads and writes numbers, no more",
    "phonenumbers/carrierdata": "which carrier a number was given to",
    "phonenumbers/tzdata": "which time zone a number is in",
    "phonenumbers/geocoder.py": "reads the first of these",
    "phonenumbers/carrier.py": "reads the second",
    "phonenumbers/timezone.py": "reads the third",
    "**/*.pyi": "for type checkers",
    "av/**/*.pxd": "for who compiles against PyAV",
    "certifi/tests": "a package's own tests",
    "tests": "the same",
}
STRIPPED = ("av/**/*.so", "PIL/*.so", "cryptography/**/*.so", "obstore/*.so", "psycopg_binary/*.so")
"""Libraries that come with their symbol tables, which only a debugger reads. Neither neonize's nor those in `*.libs`:
the first is Go's and has none, and the others had their heads rewritten by the tool that put them there."""


def remove(packages: Path) -> list[str]:
    """Remove what `UNREAD` names; return the patterns that found nothing."""
    idle = []
    for pattern in UNREAD:
        found = list(packages.glob(pattern))
        if not found:
            idle.append(pattern)
        for path in found:
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
    return idle


def strip(packages: Path) -> None:
    """Take the symbols out of what `STRIPPED` names."""
    libraries = [path for pattern in STRIPPED for path in packages.glob(pattern)]
    subprocess.run(["strip", "--strip-unneeded", *libraries], check=True)


def size_mb(packages: Path) -> float:
    return sum(path.lstat().st_size for path in packages.rglob("*") if not path.is_dir()) / 1e6


def main(packages: Path) -> int:
    """Do all of it and say what it brought."""
    before = size_mb(packages)
    if idle := remove(packages):
        print("nothing to remove, look again:", ", ".join(idle), file=sys.stderr)
        return 1
    strip(packages)
    after = size_mb(packages)
    compileall.compile_dir(packages, quiet=2, invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)
    print(f"packages: {before:.0f} MB as installed, {after:.0f} MB, {size_mb(packages):.0f} MB compiled")
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
