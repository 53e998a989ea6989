"""The documents say what the code does, as far as a program can tell: links, names, routes, settings, examples."""

import argparse
import re
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from bridge import cli, scrape
from bridge.api.app import create_app
from bridge.api.context import ApiContext
from bridge.api.problems import _CODES
from bridge.config import Settings
from bridge.domain.ids import NodeId
from bridge.domain.schedule import LAST_WAIT_S, WAITS_S
from bridge.engine.errors import EngineError
from bridge.errors import BridgeError
from bridge.instances.directory import Directory
from bridge.sandbox.control import ROUTES
from bridge.webhooks import sign
from ops import settings, state_machine
from receiver import cli as receiver_cli
from tests.support.api import FormOnly, Probes
from tests.support.directory import MemoryDirectory
from tests.support.memory import MemoryStore

ROOT = Path(__file__).parents[2]
DOCS = (ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md")))
CODE = tuple(
    path for folder in ("bridge", "receiver", "supervisor", "ops") for path in sorted((ROOT / folder).rglob("*.py"))
)
COMPOSE = (ROOT / "docker-compose.yml", ROOT / ".env.example")
NAME = re.compile(r"\b(?:BRIDGE|RECEIVER)_[A-Z_]*[A-Z]\b")
OF_OTHERS = re.compile(r"^(docker|#|.*`docker) ")
"""Lines with commands that are not ours, whose flags are not either."""
FLAG = re.compile(r"(?<![\w-])--[a-z][a-z-]*[a-z]\b")
FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)


def read(name: str) -> str:
    return (ROOT / "docs" / name).read_text()


def rows(text: str) -> list[list[str]]:
    """Return the cells of all table rows."""
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line[:2] == "| "]


def anchors(path: Path) -> set[str]:
    """Return the anchors of a page's headings, as they are made on the web."""
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", path.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def links(path: Path) -> list[str]:
    targets = re.findall(r"\]\(([^)\s]+)\)", FENCE.sub("", path.read_text()))
    return [target for target in targets if not target.startswith(("http://", "https://"))]


def test_the_state_machine_is_drawn_as_it_is() -> None:
    assert state_machine.TARGET.read_text() == state_machine.page()


@pytest.mark.parametrize("path", DOCS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_leads_somewhere(path: Path) -> None:
    for target in links(path):
        file, _, anchor = target.partition("#")
        found = (path.parent / file).resolve() if file else path
        assert found.exists(), f"{path.name}: {target}"
        assert not anchor or anchor in anchors(found), f"{path.name}: {target}"


@pytest.mark.parametrize("path", DOCS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_variable_and_flag_that_is_named_exists(path: Path) -> None:
    text = path.read_text()
    source = "".join(file.read_text() for file in (*CODE, *filter(Path.exists, COMPOSE)))
    variables = {Settings.ENVIRONMENT + name.upper() for name in Settings.model_fields}
    variables |= {variable + "_FILE" for variable in variables} | set(NAME.findall(source))
    assert set(NAME.findall(text)) <= variables
    ours = "\n".join(line for line in text.splitlines() if not OF_OTHERS.search(line))
    assert set(FLAG.findall(ours)) - {"--help"} <= set(re.findall(r"\"(--[a-z-]+)\"", source))


@pytest.mark.parametrize("name", settings.TABLES)
def test_the_settings_are_listed_as_they_are(name: str) -> None:
    assert settings.page(name) == read(name), "python -m ops.settings writes the table"
    listed = {cells[0]: cells[1:] for cells in rows(read("operations.md"))}
    assert listed["`BRIDGE_AUTH`"][:2] == ["`on`", "on or off"]
    assert listed["`BRIDGE_SESSIONS_PER_HOST`"][:2] == ["`25`", "a number from 1 to 200"]
    assert all(listed[f"`BRIDGE_{name.upper()}`"][2] for name in Settings.model_fields)


def test_every_setting_of_the_receiver_is_listed() -> None:
    read_from_code = set(re.findall(r"\"(RECEIVER_[A-Z_]+)\"", (ROOT / "receiver" / "config.py").read_text()))
    assert read_from_code <= set(NAME.findall(read("receiver.md")))


def test_the_metrics_that_are_told_of_are_those_that_there_are() -> None:
    told = {
        cells[0].strip("`").partition("{")[0]: (cells[1], cells[2])
        for cells in rows(read("operations.md"))
        if cells[0].startswith("`bridge_")
    }
    assert told == scrape.documented(), "python -m bridge.scrape prints the table"


def every_parser(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """Yield a parser and those of its commands, theirs too; what the sandbox's take is told by themselves."""
    yield parser
    for group in parser._subparsers._group_actions if parser._subparsers else ():
        for name, child in (group.choices or {}).items():
            yield from [child] if name == "sandbox" else every_parser(child)


def test_every_flag_of_the_commands_is_named_in_operations() -> None:
    parsers = (*every_parser(cli.parser()), receiver_cli._parser())
    known = {flag for parser in parsers for flag in FLAG.findall(parser.format_help())}
    assert known - {"--help", "--parent-pipe"} <= set(
        FLAG.findall(read("operations.md") + read("receiver.md") + read("sandbox.md"))
    )


def test_the_routes_that_are_told_of_are_those_that_there_are() -> None:
    store = MemoryStore()
    app = create_app(ApiContext(store, MemoryDirectory(store), Probes(), NodeId("node_1"), FormOnly()))
    real = {
        f"{method} {rule.rule.replace('<', '{').replace('>', '}')}"
        for rule in app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }
    assert set(re.findall(r"^### (\w+ /\S+)$", read("api.md"), re.MULTILINE)) == real


def test_the_error_codes_that_are_told_of_exist_with_their_status() -> None:
    def subclasses(kind: type[BridgeError]) -> set[type[BridgeError]]:
        return {kind}.union(*(subclasses(child) for child in kind.__subclasses__()))

    assert EngineError and Directory  # with them every module that has errors is loaded
    real = {(str(kind.status), kind.code) for kind in subclasses(BridgeError)}
    real |= {(str(status), code) for status, code in _CODES.items()}
    told = {(cells[0], cells[1].strip("`")) for cells in rows(read("api.md")) if cells[0].isdigit()}
    assert len(told) > 20
    assert told <= real


def test_the_sandbox_calls_that_are_told_of_are_those_that_there_are() -> None:
    told = {tuple(cells[0].strip("`").split(" ")) for cells in rows(read("sandbox.md")) if cells[0].startswith("`")}
    assert told == {(route.method, route.path) for route in ROUTES}


def test_the_retries_that_are_told_of_are_those_of_the_schedule() -> None:
    units = {"s": 1, "min": 60, "h": 3600}
    table = [cells for cells in rows(read("delivery.md")) if re.fullmatch(r"\d+|each later one", cells[0])]
    waits = [float(number) * units[unit] for _, wait in table for number, unit in [wait.split()]]
    assert waits == [*WAITS_S, LAST_WAIT_S]


def test_the_event_types_that_are_told_of_are_emitted() -> None:
    source = "".join(path.read_text() for path in CODE)
    told = set(re.findall(r"`([a-z]+\.[a-z_]+)`", "".join(cells[0] for cells in rows(read("delivery.md")))))
    assert len(told) > 15
    assert [type_ for type_ in told if f'"{type_}"' not in source] == []


def test_the_example_that_verifies_a_signature_does() -> None:
    (example,) = re.findall(r"^```python\n(.*?)^```$", read("delivery.md"), re.MULTILINE | re.DOTALL)
    space: dict[str, object] = {}
    exec(example, space)
    verify = space["verify"]
    assert callable(verify)
    old, new, now, body = sign.new_secret(), sign.new_secret(), int(time.time()), b'{"seq": 1}'
    headers = {
        "webhook-id": "evt_1",
        "webhook-timestamp": str(now),
        "webhook-signature": sign.sign([new, old], "evt_1", now, body),
    }
    assert verify(sign.show(new), headers, body)
    assert verify(sign.show(old), headers, body)
    assert not verify(sign.show(sign.new_secret()), headers, body)
    assert not verify(sign.show(new), headers, body + b" ")
    assert not verify(sign.show(new), headers | {"webhook-timestamp": str(now - 301)}, body)


def test_every_dependency_has_its_reason() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["dev"]]
    names = {re.split(r"[<>=]", requirement)[0] for requirement in wanted}
    assert {cells[0].strip("`") for cells in rows(read("decisions/dependencies.md"))} - {"package"} == names
