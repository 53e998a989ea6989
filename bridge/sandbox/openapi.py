"""Describes the control API as OpenAPI 3.1, from the same routes that serve it."""

import inspect
import re
from collections.abc import Iterable
from typing import Any

import msgspec

from bridge.sandbox.calls import Route


class Problem(msgspec.Struct):
    """What went wrong: `code` for programs, `message` for people."""

    code: str
    message: str


class ProblemAnswer(msgspec.Struct):
    error: Problem


def describe(routes: Iterable[Route]) -> dict[str, object]:
    """Return the document of these routes; each path's methods stand together."""
    routes = tuple(routes)
    types = list({kind for route in routes for kind in (route.body, route.answer) if kind is not None})
    references, schemas = msgspec.json.schema_components(
        [*types, ProblemAnswer], ref_template="#/components/schemas/{name}"
    )
    schema_of = dict(zip([*types, ProblemAnswer], references, strict=True))
    paths: dict[str, dict[str, object]] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, schema_of)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "WhatsApp sandbox",
            "version": "1",
            "description": "Act as simulated phones, break things, ask what happened. For tests; no key is asked for.",
        },
        "paths": paths,
        "components": {"schemas": schemas},
    }


def _operation(route: Route, schema_of: dict[type, dict[str, Any]]) -> dict[str, object]:
    names = re.findall(r"\{(\w+)\}", route.path)
    parameters: list[dict[str, object]] = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in names
    ]
    parameters += [
        {"name": name, "in": "query", "description": text, "schema": {"type": "string"}}
        for name, text in route.query.items()
    ]
    operation: dict[str, object] = {
        "operationId": route.handler.__name__,
        "summary": (inspect.getdoc(route.handler) or "").partition("\n")[0],
        "responses": {
            "200": _answer("done", schema_of[route.answer] if route.answer else None),
            "default": _answer("refused", schema_of[ProblemAnswer]),
        },
    }
    if parameters:
        operation["parameters"] = parameters
    if route.body is not None:
        content = {"application/json": {"schema": schema_of[route.body]}}
        operation["requestBody"] = {"required": True, "content": content}
    return operation


def _answer(description: str, schema: dict[str, Any] | None) -> dict[str, object]:
    if schema is None:
        return {"description": description}
    return {"description": description, "content": {"application/json": {"schema": schema}}}
