"""Runs schemathesis against an API that is up: what the OpenAPI document promises holds for any input.

Bounded and seeded. Refusals are no findings: a text that fits its schema need not be a recipient. `known` puts what
there really is in the place of half of the values that schemathesis makes up, so that calls come through to the inside.
"""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import trio

CHECKS = (
    *("status_code_conformance", "content_type_conformance", "response_headers_conformance"),
    *("response_schema_conformance", "use_after_free", "unsupported_method"),
)
"""Not ignored_auth: it spoils one of the four headers that may carry the key, and the good one still counts. Not
negative_data_rejection and positive_data_acceptance: see above."""
ASKS_WHATSAPP = r"^/(contact|profile|presence|chat|phone|message)\b|^/webhook$|/webhooks/{webhook}/test$"
"""The calls that are made against a real instance and the sandbox, and an endpoint that answers."""
DEFECTS = frozenset({"500", "502", "503", "504"})
"""What no input may be answered with while nothing is broken."""
DEADLINE_S = 240.0
HOOKS = "tests.support.explore_hooks"


async def explore(
    url: str,
    secret: str,
    folder: Path,
    *,
    only: str = "",
    without: str = "",
    known: Mapping[str, str] | None = None,
    examples: int = 4,
) -> str:
    """Call everything whose path `only` matches and `without` does not; return what schemathesis says. A finding fails.

    `known` names values by parameter or field, see `tests.support.explore_hooks`; the folder takes schemathesis' files.
    """
    chosen = [
        *(("--include-path-regex", only) if only else ()),
        *(("--exclude-path-regex", without) if without else ()),
    ]
    with trio.fail_after(DEADLINE_S):
        found = await trio.run_process(
            [
                *(sys.executable, "-m", "schemathesis.cli", "run", f"{url}/openapi.json"),
                *("--header", f"X-Api-Key: {secret}", "--checks", ",".join(CHECKS), *chosen),
                *("--seed", "1", "--max-examples", str(examples), "--phases", "examples,fuzzing"),
                *("--no-color", "--request-timeout", "20", "--continue-on-failure"),
            ],
            capture_stdout=True,
            stderr=subprocess.STDOUT,
            check=False,
            cwd=folder,
            env={
                **os.environ,
                "PYTHONPATH": str(Path(__file__).parents[2]),
                "SCHEMATHESIS_HOOKS": HOOKS,
                "EXPLORE_KNOWN": json.dumps(known or {}),
            },
        )
    told = found.stdout.decode(errors="replace")
    assert found.returncode == 0, told[-8000:]
    return told
