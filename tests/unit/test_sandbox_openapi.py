"""The description of the control API: a valid document that has every route, and says what the answers look like."""

import json

import msgspec
import pytest
from openapi_spec_validator import validate

from bridge.sandbox.calls import Route
from bridge.sandbox.control import ROUTES
from bridge.sandbox.openapi import describe


def test_the_document_is_valid_and_has_every_route() -> None:
    document = json.loads(json.dumps(describe(ROUTES)))
    validate(document)
    assert document["openapi"].startswith("3.1")
    told = {(method.upper(), path) for path, methods in document["paths"].items() for method in methods}
    assert told == {(route.method, route.path) for route in ROUTES}


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.path}")
def test_every_route_says_what_it_does_takes_and_answers(route: Route) -> None:
    assert route.handler.__doc__
    assert (
        route.answer is not None
        or route.path.endswith("/file")
        or route.path in ("/openapi.json", "/", "/page.js", "/page.css")
    )
    assert (route.body is None) or issubclass(route.body, msgspec.Struct)
