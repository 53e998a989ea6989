"""Kubernetes' own schemas of the kinds that we write, and the check of a manifest against them.

`python -m tests.support.kubernetes FOLDER VERSION > tests/kubernetes/VERSION.json` keeps a version's, out of the folder
of strict schemas in the package kubernetes-validate, which is 17,000 files and so not installed for this.
"""

import json
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema_rs

KEPT = Path(__file__).parents[1] / "kubernetes"
KINDS = {
    ("apps/v1", "Deployment"): "io.k8s.api.apps.v1.Deployment",
    ("v1", "PersistentVolumeClaim"): "io.k8s.api.core.v1.PersistentVolumeClaim",
    ("v1", "Secret"): "io.k8s.api.core.v1.Secret",
    ("v1", "Service"): "io.k8s.api.core.v1.Service",
}
_ELSEWHERE, _HERE = "/api/_definitions.json#/$defs/", "#/$defs/"


def mistakes(document: dict[str, Any], version: str) -> list[str]:
    """Return where Kubernetes would not take a manifest, a field that it does not know for example, and why.

    Raises `KeyError` for a kind whose schema is not kept, `FileNotFoundError` for such a version.
    """
    definition = KINDS[document["apiVersion"], document["kind"]]
    validator = jsonschema_rs.Draft202012Validator({"$ref": _HERE + definition, "$defs": _definitions(version)})
    return [f"{'.'.join(map(str, error.instance_path))}: {error.message}" for error in validator.iter_errors(document)]


@cache
def _definitions(version: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((KEPT / f"{version}.json").read_text())["$defs"]
    return found


def keep(folder: Path, version: str) -> dict[str, Any]:
    """Return the definitions that `KINDS` need, without their descriptions."""
    known = json.loads((folder / f"v{version}.0-local-strict" / "_definitions.json").read_text())["$defs"]
    kept: dict[str, Any] = {}
    wanted = list(KINDS.values())
    while wanted:
        name = wanted.pop()
        if name not in kept:
            kept[name] = _bare(known[name])
            wanted += _references(kept[name])
    return {
        "$comment": f"Of Kubernetes {version}'s API (Apache-2.0, The Kubernetes Authors), its OpenAPI document as JSON "
        "schemas by kubernetes-validate (Apache-2.0): the kinds that ops/kubernetes has, descriptions left out.",
        "$defs": dict(sorted(kept.items())),
    }


def _bare(schema: Any) -> Any:
    """Return a schema without descriptions, which are not to be taken for a property of that name."""
    if isinstance(schema, list):
        return [_bare(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    bare = {
        name: {field: _bare(part) for field, part in value.items()} if name == "properties" else _bare(value)
        for name, value in schema.items()
        if not (name == "description" and isinstance(value, str)) and not name.startswith("x-kubernetes-")
    }
    if "$ref" in bare:
        bare["$ref"] = bare["$ref"].replace(_ELSEWHERE, _HERE)
    return bare


def _references(schema: Any) -> Iterator[str]:
    for part in schema.values() if isinstance(schema, dict) else schema if isinstance(schema, list) else ():
        if isinstance(part, str) and part.startswith(_HERE):
            yield part.removeprefix(_HERE)
        yield from _references(part)


if __name__ == "__main__":
    print(json.dumps(keep(Path(sys.argv[1]), sys.argv[2]), separators=(",", ":")))
