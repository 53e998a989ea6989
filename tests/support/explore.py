"""Runs schemathesis against an API that is up: what the OpenAPI document promises holds for any input.

Bounded and seeded. `known` puts what there really is in the place of half of the values that schemathesis makes up, so
that calls come through to the inside.
"""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import trio

NOT_CHECKED = {
    "ignored_auth": "it spoils one of the four headers that may carry the key, and the good one still counts",
    "negative_data_rejection": "an unknown field is ignored, as clients of the original expect",
    "positive_data_acceptance": "a text that fits its schema need not be a recipient, a URL or an id of something",
    "not_a_server_error": "501 is the answer of what is not built; `DEFECTS` are counted instead",
}
"""The checks of schemathesis that are left out, and why."""
ASKS_WHATSAPP = r"^/(call|contact|group|profile|presence|chat|phone|message)\b|^/webhook$|/webhooks/{webhook}/test$"
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
                *("--header", f"X-Api-Key: {secret}", "--exclude-checks", ",".join(NOT_CHECKED), *chosen),
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
