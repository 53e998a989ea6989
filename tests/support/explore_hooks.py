"""What schemathesis runs before each of its calls (see tests/support/explore.py), in its own process."""

import itertools
import json
import os
from typing import Any

import schemathesis

KNOWN: dict[str, str] = json.loads(os.environ["EXPLORE_KNOWN"])
"""What there really is, by the name of a parameter or a field of the body; `POST /path name` is for that call alone."""
ALWAYS = frozenset({"key", "webhook", "instance_key"})
"""Replaced in every call: nothing is behind a made-up one."""
SLOW = {"delay_ms": 10, "wait_s": 0.1, "ttl_s": None}
"""What makes a call wait, and for how long it may."""
ANYWHERE = frozenset({"not_found", "method_not_allowed", "bad_request"})
"""What is answered to what is no call of ours."""
_calls = itertools.count()


@schemathesis.check
def a_refusal_is_described(context: Any, response: Any, case: Any) -> None:
    """Find in the document that this call can be refused with this code."""
    if response.status_code < 400 or "json" not in response.headers["content-type"][0]:
        return
    code = response.json().get("code")
    described = case.operation.definition.raw["responses"].get(str(response.status_code), {}).get("content", {})
    told = described.get("application/json", {})
    if code not in ANYWHERE and code not in told.get("examples", {}) and "example" not in told:
        raise AssertionError(f"{response.status_code} {code} is not described")


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: dict[str, Any]) -> None:
    """Put what is known into the path and the body, and let nothing wait for long."""
    often = next(_calls) % 2 == 0
    for values in (case.path_parameters, case.query, case.body):
        if not isinstance(values, dict):
            continue
        for name in [*values]:
            real = KNOWN.get(f"{case.method} {case.path} {name}", KNOWN.get(name))
            if real is not None and (often or name in ALWAYS):
                values[name] = real
            if name in SLOW and isinstance(values[name], int | float):
                values[name] = SLOW[name]
