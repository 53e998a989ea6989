"""Shows the OpenAPI document as one page without scripts: nothing is loaded from anywhere, and nothing can be run."""

import json
from collections.abc import Iterable, Iterator, Mapping
from html import escape
from typing import Any

CONTENT_SECURITY_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; frame-ancestors 'none'"
_STYLE = """
:root { color-scheme: light dark; --line: #8884; --soft: #8882; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 0 auto; padding: 1rem; }
h2 { margin-top: 2rem; text-transform: capitalize; }
details { border: 1px solid var(--line); border-radius: .4rem; margin: .4rem 0; padding: .4rem .8rem; }
summary { cursor: pointer; overflow-wrap: anywhere; }
summary b { display: inline-block; min-width: 4.5rem; font-family: monospace; }
code, pre { font-family: ui-monospace, monospace; font-size: .9em; background: var(--soft); border-radius: .3rem; }
code { padding: 0 .2rem; }
pre { padding: .6rem; overflow-x: auto; }
table { border-collapse: collapse; width: 100%; }
td, th { border-bottom: 1px solid var(--line); padding: .2rem .4rem; text-align: left; vertical-align: top;
  overflow-wrap: anywhere; }
td:first-child { font-family: ui-monospace, monospace; font-size: .9em; }
"""


def page(document: Mapping[str, Any]) -> str:
    """Return the page of an OpenAPI document as this program writes it."""
    info, schemas = document["info"], document["components"]["schemas"]
    groups: dict[str, list[str]] = {}
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            groups.setdefault(operation["tags"][0], []).append(_operation(method, path, operation, schemas))
    parts = [f"<h2>{escape(tag)}</h2>{''.join(operations)}" for tag, operations in sorted(groups.items())]
    title = f"{escape(info['title'])} {escape(info['version'])}"
    head = f"<!doctype html><html lang=en><meta charset=utf-8><title>{title}</title>"
    return (
        f'{head}<meta name=viewport content="width=device-width"><style>{_STYLE}</style><h1>{title}</h1>'
        f"<p>{escape(info['description'])} The key goes into <code>Authorization: Bearer &lt;key&gt;</code> or "
        '<code>X-Api-Key</code>. For programs: <a href="/openapi.json">/openapi.json</a>.</p>' + "".join(parts)
    )


def _operation(method: str, path: str, operation: Mapping[str, Any], schemas: Mapping[str, Any]) -> str:
    parts = [f"<p>{escape(operation.get('description', 'Needs no key.'))}</p>"]
    parts.append(_table("Parameters", _parameters(operation.get("parameters", ()))))
    body = operation.get("requestBody", {}).get("content", {}).get("application/json")
    if body is not None:
        parts.append(_table("Body", _fields(body["schema"], schemas)))
    parts.append(f"<h4>For example</h4><pre>{escape(_curl(method, path, operation, body))}</pre>")
    refusals: list[tuple[str, str, str]] = []
    for status, answer in operation["responses"].items():
        if status == "default":
            continue
        if "examples" in answer["content"].get("application/json", {}):
            refusals += [
                (status, code, one["value"]["error"])
                for code, one in answer["content"]["application/json"]["examples"].items()
            ]
            continue
        shown = answer["content"].get("application/json")
        parts.append(f"<h4>{status}: {escape(', '.join(answer['content']))}</h4>")
        for kind, plain in answer["content"].items():
            if kind != "application/json" and "example" in plain:
                parts.append(f"<pre>{escape(plain['example'])}</pre>")
        if shown is not None:
            parts.append(_table("", _fields(shown["schema"], schemas)))
            if "example" in shown:
                parts.append(f"<pre>{escape(json.dumps(shown['example'], indent=2, ensure_ascii=False))}</pre>")
    parts.append(_table("Refused with", refusals))
    head = f"<b>{method.upper()}</b> <code>{escape(path)}</code> {escape(operation['summary'])}"
    return f'<details id="{escape(operation["operationId"])}"><summary>{head}</summary>{"".join(parts)}</details>'


def _curl(method: str, path: str, operation: Mapping[str, Any], body: Mapping[str, Any] | None) -> str:
    line = f"curl -X {method.upper()} 'http://localhost:4444{path}'"
    if operation.get("security") != []:
        line += ' \\\n  -H "Authorization: Bearer $KEY"'
    if body is not None and body.get("example"):
        text = json.dumps(body["example"], ensure_ascii=False)
        line += f" \\\n  -H 'Content-Type: application/json' \\\n  -d '{text}'"
    return line


def _table(title: str, rows: Iterable[tuple[str, str, str]]) -> str:
    lines = "".join(
        f"<tr><td>{escape(name)}</td><td>{escape(kind)}</td><td>{escape(text)}</td></tr>" for name, kind, text in rows
    )
    head = f"<h4>{title}</h4>" if title else ""
    return f"{head}<table>{lines}</table>" if lines else ""


def _parameters(parameters: Iterable[Mapping[str, Any]]) -> Iterator[tuple[str, str, str]]:
    for parameter in parameters:
        yield parameter["name"], f"{parameter['in']}, {_kind(parameter['schema'])}", parameter.get("description", "")


def _fields(schema: Mapping[str, Any], schemas: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    for found in schema.get("anyOf", (schema,)):
        resolved = schemas.get(found.get("$ref", "").rpartition("/")[2], found)
        needed = resolved.get("required", ())
        for name, field in resolved.get("properties", {}).items():
            yield name, _kind(field), "required" if name in needed else ""


def _kind(schema: Mapping[str, Any]) -> str:
    """Return a schema in a few words."""
    if "anyOf" in schema:
        return " or ".join(_kind(part) for part in schema["anyOf"])
    if "enum" in schema:
        return " | ".join(map(str, schema["enum"]))
    if "$ref" in schema:
        return str(schema["$ref"].rpartition("/")[2])
    if schema.get("type") == "array":
        return f"list of {_kind(schema.get('items', {}))}"
    bounds = [f"{word} {schema[name]:g}" for name, word in (("minimum", "from"), ("maximum", "to")) if name in schema]
    return " ".join([schema.get("format") or schema.get("type", "any JSON"), *bounds])
