"""Describes the API as OpenAPI 3.1, from the routes that serve it and the table of what they take and give.

The schemas come from the same msgspec Structs that read bodies and write answers. A route that is not in the table of
`bridge.api.operations` is a defect, and so is an entry without a route: a test compares them.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from bridge.api.auth import ROLES
from bridge.api.call import Route
from bridge.api.problems import Problem
from bridge.api.refusals import REFUSALS, of_call

Schema = Mapping[str, Any]
REF = "#/components/schemas/{name}"
KEY = "3f2a9c0d4b5e6f708192a3b4c5d6e7f8"
"""The instance of the examples."""
AT = "2026-01-02T03:04:05Z"


@dataclass(frozen=True, slots=True)
class Operation:
    """What a call takes and gives, for people and programs. Its examples are checked against its schemas."""

    summary: str
    body: Any = None
    """The type of the request's JSON; None: it has none."""
    example: Any = None
    """A body that means something, as plain JSON."""
    answer: Any = None
    """The type of the answer's JSON, or a tuple of those that it may have; None: see `media`."""
    shows: Any = None
    """An answer to the example, as plain JSON."""
    status: int = 200
    media: tuple[str, ...] = ()
    """Content types of an answer, or a body, that is not JSON."""
    sample: str = ""
    """What an answer of the first of these looks like, where that is text."""
    query: Mapping[str, Schema] = field(default_factory=dict)
    """Parameters of the URL: their schemas, with a description."""
    headers: Mapping[str, Schema] = field(default_factory=dict)
    others: Mapping[int, Any] = field(default_factory=dict)
    """Types of good answers with another status."""
    raw_body: tuple[str, ...] = ()
    """Content types of a body that is not JSON."""


def text(description: str, **more: Any) -> Schema:
    """Describe a parameter that is a text."""
    return {"type": "string", "description": description, **more}


def number(description: str, low: float, high: float, default: float | None = None) -> Schema:
    """Describe a parameter that is a number within bounds."""
    kind = "integer" if isinstance(low, int) and isinstance(high, int) else "number"
    bounds = {"type": kind, "minimum": low, "maximum": high, "description": description}
    return bounds if default is None else {**bounds, "default": default}


PLACES: Mapping[str, str] = {
    "/contact/<key>/<id>": "4915100000002",
    "/group/<key>/<id>": "120363000000000001@g.us",
    "/message/<key>": "3EB0C767D097B7C7C030",
    "/media/<key>/<id>": "med_01JGZ0000000000000000000AB",
    "key": KEY,
    "key_id": "key_01",
    "webhook": "whk_01",
    "delivery": "dlv_01_01",
    "replay": "rpl_01",
    "date": "2026-01-02",
    "file": "1767322800-5f0c.jpg",
    "asset": "app.js",
}
"""Examples of what stands in a path, by the variable; of an `id` by the beginning of the path."""
WAIT = frozenset({429, 503})
"""Statuses whose answers say when to come again."""
UNDESCRIBED = Operation("Not described yet.", media=("application/octet-stream",))
LIMIT = number("how many, at the most", 1, 1000, 1000)
CURSOR = text("`next_cursor` of the page before")
REPEATABLE: Mapping[str, Schema] = {
    "Idempotency-Key": text(
        "1 to 255 printable ASCII characters: a repeated request is answered like the first one",
        pattern="^[!-~]([ -~]{0,253}[!-~])?$",
    )
}


def path_of(route: Route) -> str:
    """Return the path with its variables in braces."""
    return route.path.replace("<", "{").replace(">", "}")


def describe(routes: Iterable[Route], operations: Mapping[str, Operation], version: str) -> dict[str, Any]:
    """Return the document; a route that the table does not have is in it without its schemas."""
    found = [(route, operations.get(f"{route.method} {path_of(route)}", UNDESCRIBED)) for route in routes]
    types = [kind for _, operation in found for kind in _types(operation)]
    schema_of, components = _schemas([*types, Problem])
    paths: dict[str, dict[str, Any]] = {}
    for route, operation in found:
        paths.setdefault(path_of(route), {})[route.method.lower()] = _operation(route, operation, schema_of)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "WhatsApp bridge",
            "version": version,
            "description": "One HTTP API in front of many WhatsApp numbers. Errors have a body like `Problem`.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": paths,
        "components": {"schemas": components, "securitySchemes": _SECURITY},
        "security": [{name: []} for name in _SECURITY],
        "tags": [{"name": tag} for tag in sorted({_tag(path) for path in paths})],
    }


_SECURITY: Mapping[str, Schema] = {
    "bearer": {"type": "http", "scheme": "bearer"},
    **{name: {"type": "apiKey", "in": "header", "name": name} for name in ("X-Api-Key", "apikey", "token")},
}


def _types(operation: Operation) -> list[Any]:
    given = (operation.body, *_alternatives(operation.answer), *operation.others.values())
    return [kind for kind in given if kind is not None]


def _alternatives(kind: Any) -> tuple[Any, ...]:
    return kind if isinstance(kind, tuple) else (kind,)


def _schemas(types: list[Any]) -> tuple[dict[str, Schema], dict[str, Any]]:
    """Return the schema of each type, by its `repr`, and the components that these refer to."""
    unique = list({repr(kind): kind for kind in types}.values())
    schemas, components = msgspec.json.schema_components(unique, ref_template=REF, schema_hook=_any_json)
    return dict(zip(map(repr, unique), schemas, strict=True)), components


def _any_json(kind: type) -> dict[str, Any]:
    """Describe `object`, which our Structs use for any JSON; nothing else is unknown to msgspec."""
    assert kind is object, kind
    return {"description": "any JSON"}


def _operation(route: Route, operation: Operation, schema_of: Mapping[str, Schema]) -> dict[str, Any]:
    described: dict[str, Any] = {
        "operationId": _operation_id(route),
        "tags": [_tag(path_of(route))],
        "summary": operation.summary,
        "responses": _responses(route, operation, schema_of),
    }
    if route.access is None:
        described["security"] = []
    else:
        able = [role for role, allowed in ROLES.items() if route.access in allowed]
        described["description"] = f"Needs a key that may {route.access.value}: {', '.join(able)}."
    if parameters := _parameters(route, operation):
        described["parameters"] = parameters
    if operation.body is not None:
        media: dict[str, Any] = {"schema": schema_of[repr(operation.body)]}
        if operation.example is not None:
            media["example"] = operation.example
        described["requestBody"] = {"content": {"application/json": media}, "required": _needs_body(operation.body)}
    elif operation.raw_body:
        described["requestBody"] = {"content": {kind: {} for kind in operation.raw_body}, "required": True}
    return described


def _responses(route: Route, operation: Operation, schema_of: Mapping[str, Schema]) -> dict[str, Any]:
    content: dict[str, Any] = {kind: {} for kind in operation.media}
    if operation.sample:
        content[operation.media[0]]["example"] = operation.sample
    if operation.answer is not None:
        schemas = [schema_of[repr(kind)] for kind in _alternatives(operation.answer)]
        content["application/json"] = {"schema": schemas[0] if len(schemas) == 1 else {"anyOf": schemas}}
        if operation.shows is not None:
            content["application/json"]["example"] = operation.shows
    found = {str(operation.status): {"description": "Done.", "content": content}}
    for status, kind in operation.others.items():
        media = {"schema": schema_of[repr(kind)]}
        if status < 400 and kind is operation.answer and operation.shows is not None:
            media["example"] = operation.shows
        found[str(status)] = {"description": "Done.", "content": {"application/json": media}}
    problem = {"schema": schema_of[repr(Problem)]}
    for status, codes in sorted(refused_with(route, operation).items()):
        if str(status) in found:
            continue  # what it answers then is said above
        examples = {code: {"summary": code, "value": REFUSALS[code].example(code)} for code in codes}
        description = f"Refused: {', '.join(codes)}." if status < 500 else f"Failed: {', '.join(codes)}."
        found[str(status)] = {
            "description": description,
            "content": {"application/json": {**problem, "examples": examples}},
        }
        if status in WAIT:
            found[str(status)]["headers"] = {"Retry-After": {"description": "Seconds.", "schema": {"type": "integer"}}}
    found["default"] = {
        "description": "Refused or failed; `code` says why.",
        "content": {"application/json": problem},
    }
    return found


def refused_with(route: Route, operation: Operation) -> dict[int, list[str]]:
    """Return the codes of the errors that a call can give, by their status."""
    form = {
        "key": route.access is not None,
        "body": operation.body is not None,
        "query": bool(operation.query),
        "cursor": "cursor" in operation.query,
        "instance": "<key>" in route.path,
        "names_instance": "instance_key" in getattr(operation.body, "__struct_fields__", ()),
        "repeatable": "Idempotency-Key" in headers_of(route, operation),
    }
    codes = of_call(f"{route.method} {path_of(route)}", form=frozenset(name for name, has in form.items() if has))
    found: dict[int, list[str]] = {}
    for code in dict.fromkeys(codes):
        found.setdefault(REFUSALS[code].status, []).append(code)
    return found


def headers_of(route: Route, operation: Operation) -> Mapping[str, Schema]:
    """Return the headers that a call reads; that a POST keeps its answer is said by its route."""
    kept = route.method == "POST" and route.access is not None and route.keeps_answer
    return {**operation.headers, **REPEATABLE} if kept else operation.headers


def _parameters(route: Route, operation: Operation) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for name in re.findall(r"<(\w+)>", route.path):
        schema: Schema = {"type": "string", "examples": [_example_of(name, route.path)]}
        found.append({"name": name, "in": "path", "required": True, "schema": schema})
    for place, parameters in (("query", operation.query), ("header", headers_of(route, operation))):
        for name, schema in parameters.items():
            plain = {key: value for key, value in schema.items() if key != "description"}
            found.append({"name": name, "in": place, "description": schema["description"], "schema": plain})
    return found


def _example_of(name: str, path: str) -> str:
    """Return what stands in the place of a variable in the example of a call."""
    if name != "id":
        return PLACES[name]
    return next(value for start, value in PLACES.items() if path.startswith(start))


def _needs_body(kind: Any) -> bool:
    try:
        msgspec.convert({}, kind)
    except msgspec.ValidationError:
        return True
    return False


def _operation_id(route: Route) -> str:
    words = re.findall(r"\w+", route.path.replace("-", "_"))
    return "_".join([route.method.lower(), *words])


def _tag(path: str) -> str:
    first = path.split("/")[1]
    return {"instances": "instance"}.get(first, first if "{" not in first else "other").partition(".")[0]
