"""The OpenAPI document: every route is in it, nothing else is, and its examples are what its schemas say."""

import importlib
import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

import bridge
from bridge.api.app import all_routes
from bridge.api.auth import Access, Gate, Reach
from bridge.api.context import ApiContext, Limits
from bridge.api.docs_page import page
from bridge.api.openapi import KEY, Operation, describe, path_of
from bridge.api.operations import OPERATIONS
from bridge.api.problems import Problem
from bridge.api.refusals import REFUSALS
from bridge.domain.ids import NodeId
from bridge.errors import BridgeError
from tests.support.api import FormOnly, Probes
from tests.support.directory import MemoryDirectory
from tests.support.memory import MemoryStore

STORE = MemoryStore()
CONTEXT = ApiContext(STORE, MemoryDirectory(STORE), Probes(), NodeId("node_1"), FormOnly())
ROUTES = all_routes(CONTEXT, Gate(STORE.keys, Limits()))
DOCUMENT = describe(ROUTES, OPERATIONS, "1")


def names() -> set[str]:
    return {f"{route.method} {path_of(route)}" for route in ROUTES}


def test_every_route_is_described() -> None:
    missing = sorted(names() - set(OPERATIONS))
    assert not missing, (
        f"add to the module of its resource in bridge/api/operations/: {missing}, such as"
        ' "POST /things/{key}": Operation("Does it.", body=Body, example={...}, answer=Answer, shows={...})'
    )


def test_nothing_is_described_that_there_is_not() -> None:
    assert sorted(set(OPERATIONS) - names()) == []


@pytest.mark.parametrize("name", sorted(OPERATIONS))
def test_a_call_has_examples_that_its_schemas_accept(name: str) -> None:
    operation = OPERATIONS[name]
    if operation.body is not None:
        assert operation.example is not None, f"{name}: give an `example` of its body"
        msgspec.convert(operation.example, operation.body)
    if operation.answer is not None:
        assert operation.shows is not None, f"{name}: give with `shows` what it answers"
        kinds = operation.answer if isinstance(operation.answer, tuple) else (operation.answer,)
        msgspec.convert(operation.shows, kinds[0])
    else:
        assert operation.media, f"{name}: give the type of its `answer`, or the content types in `media`"


BINARY = {"GET /media/{key}/{id}", "GET /media/{key}/{date}/{file}"}
"""What answers with somebody's file."""


def test_every_call_has_an_example_of_its_answer_and_of_what_stands_in_its_path() -> None:
    for path, methods in DOCUMENT["paths"].items():
        for method, operation in methods.items():
            good = [answer for status, answer in operation["responses"].items() if status < "4" and status != "default"]
            shown = [media for answer in good for media in answer["content"].values() if "example" in media]
            name = f"{method.upper()} {path}"
            assert shown or name in BINARY or OPERATIONS[name].status == 501, name
            for parameter in operation.get("parameters", ()):
                if parameter["in"] == "path":
                    (example,) = parameter["schema"]["examples"]
                    assert (example == KEY) == (parameter["name"] == "key"), name


def test_a_wrong_example_is_noticed() -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"name": 1}, OPERATIONS["POST /keys"].body)


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.path}")
def test_a_call_whose_body_names_an_instance_says_so(route: Any) -> None:
    """A key that belongs to some instances is refused on such a route unless it says what it reaches."""
    operation = OPERATIONS[f"{route.method} {path_of(route)}"]
    fields = {field.name for field in msgspec.structs.fields(operation.body)} if _is_struct(operation.body) else set()
    if "instance_key" in fields and route.access is not Access.ADMIN:
        assert route.reached is not Reach.ALL, "give the Route Reach.ONE, and let the handler ask Call.instance(...)"


def _is_struct(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)


def errors_of(kind: type[BridgeError]) -> Iterator[type[BridgeError]]:
    for one in kind.__subclasses__():
        yield one
        yield from errors_of(one)


def test_the_errors_are_those_that_there_are() -> None:
    for module in pkgutil.walk_packages(bridge.__path__, "bridge."):
        if not module.name.startswith("bridge.sandbox") and not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    known = {(one.code, one.status, one.retryable) for one in errors_of(BridgeError)}
    assert [code for code, told in REFUSALS.items() if (code, told.status, told.retryable) not in known] == []
    documented = (Path(__file__).parents[2] / "docs" / "api.md").read_text()
    rows = dict(re.findall(r"^\| (?:\d{3}) \| `(\w+)` \| (.*) \|$", documented, re.MULTILINE))
    anywhere = {"not_found", "method_not_allowed", "internal"}
    assert rows.keys() - anywhere == REFUSALS.keys()


def test_each_error_is_some_calls_and_has_an_example() -> None:
    given = set()
    for methods in DOCUMENT["paths"].values():
        for operation in methods.values():
            for status, answer in operation["responses"].items():
                for code, example in answer["content"].get("application/json", {}).get("examples", {}).items():
                    body = msgspec.convert(example["value"], Problem)
                    assert (body.code, REFUSALS[code].status) == (code, int(status))
                    given.add(code)
    assert given == set(REFUSALS)


def test_a_call_that_needs_a_key_says_how_it_is_refused() -> None:
    responses = DOCUMENT["paths"]["/message/send"]["post"]["responses"]
    assert {"400", "401", "403", "404", "409", "410", "413", "415", "422", "429", "502", "503", "504"} < set(responses)
    assert "Retry-After" in responses["429"]["headers"]
    assert "not_connected" in responses["400"]["content"]["application/json"]["examples"]


def test_references_lead_somewhere_and_ids_are_unique() -> None:
    components = DOCUMENT["components"]["schemas"]

    def references(value: object) -> set[str]:
        if isinstance(value, dict):
            own = {value["$ref"]} if isinstance(value.get("$ref"), str) else set()
            return own.union(*map(references, value.values()))
        return set().union(*map(references, value)) if isinstance(value, list | tuple) else set()

    assert {reference.rpartition("/")[2] for reference in references(DOCUMENT)} <= set(components)
    ids = [operation["operationId"] for methods in DOCUMENT["paths"].values() for operation in methods.values()]
    assert len(ids) == len(set(ids)) == len(ROUTES)


def test_the_page_shows_every_call_and_loads_nothing() -> None:
    shown = page(DOCUMENT)
    for name in OPERATIONS:
        method, _, path = name.partition(" ")
        assert f"<b>{method}</b> <code>{path}</code>" in shown, name
    assert "<script" not in shown and "src=" not in shown and "@import" not in shown


def test_the_page_escapes_what_it_shows() -> None:
    route = ROUTES[0]
    evil = Operation("<script>alert(1)</script>", answer=dict[str, Any], shows={"x": "<img onerror=1>"})
    shown = page(describe([route], {f"{route.method} {path_of(route)}": evil}, "<b>1</b>"))
    assert "<script" not in shown and "<img" not in shown and "<b>1" not in shown
