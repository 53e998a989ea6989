"""Reads the body of a request into a typed object, or says which field is wrong and how."""

import re
from collections.abc import Hashable, Mapping
from functools import cache
from typing import Any, TypeVar, cast

import msgspec
from quart.wrappers import Request

from bridge.api.edge import TOO_LARGE
from bridge.api.problems import BodyTooLarge, InvalidField, MalformedBody, NotJson

T = TypeVar("T")

MAX_DEPTH = 16
"""Of nested objects in fields that take any JSON."""
_AT = re.compile(r"^(?P<what>.*?)(?: - at `(?P<path>[^`]*)`)?$", re.DOTALL)
_MISSING = re.compile(r"Object missing required field `(?P<name>[^`]*)`")


async def read_json(request: Request, headers: Mapping[bytes, bytes], kind: type[T], max_bytes: int) -> T:
    """Return the body as a `kind`; an empty one counts as `{}`. Raises what 400, 408, 413 and 415 are made from."""
    raw = await read_raw(request, headers, max_bytes)
    return decode(raw if raw.strip() else b"{}", kind)


async def read_raw(request: Request, headers: Mapping[bytes, bytes], max_bytes: int, *, keep: bool = False) -> bytes:
    """Return the bytes of a body that is JSON by its type, or empty; with `keep` it can be read once more."""
    announced = headers.get(b"content-length", b"0")
    if announced.isdigit() and int(announced) > max_bytes:
        raise BodyTooLarge(max_bytes=max_bytes)
    raw: bytes = await request.get_data(cache=keep, as_text=False, parse_form_data=False)
    if request.scope.get(TOO_LARGE):
        raise BodyTooLarge(max_bytes=max_bytes)
    if raw.strip() and not is_json(headers.get(b"content-type", b"")):
        raise NotJson
    return raw


def is_json(content_type: bytes) -> bool:
    """Say whether a body of this type is read; what web pages can send unasked (forms, plain text) is not."""
    media_type = content_type.partition(b";")[0].strip().lower()
    return media_type in {b"", b"application/json", b"text/json"} or media_type.endswith(b"+json")


def decode(raw: bytes, kind: type[T]) -> T:
    """Return `raw` as a `kind`; raise `MalformedBody` or `InvalidField`."""
    try:
        value: T = _decoder(cast("Hashable", kind)).decode(raw)
    except msgspec.ValidationError as error:
        raise _invalid(str(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedBody(f"{error}.") from None
    if b"\\u0000" in raw and _holds_nul(msgspec.to_builtins(value)):
        raise MalformedBody("It contains a NUL character, which cannot be stored.")
    return value


@cache
def _decoder(kind: Hashable) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(cast("type[Any]", kind))


def _invalid(text: str) -> InvalidField:
    found = _AT.match(text)
    what, path = (found["what"], found["path"] or "$") if found else (text, "$")
    missing = _MISSING.fullmatch(what)
    if missing:
        path, what = f"{path}.{missing['name']}", "is required"
    else:
        what = f"is wrong: {what[:1].lower()}{what[1:]}"
    return InvalidField(path.removeprefix("$").removeprefix(".") or "body", what)


def _holds_nul(value: Any) -> bool:
    match value:
        case str():
            return "\0" in value
        case dict():
            return any(_holds_nul(key) or _holds_nul(item) for key, item in value.items())
        case list() | tuple():
            return any(_holds_nul(item) for item in value)
        case _:
            return False


def depth(value: object) -> int:
    """Return how deep objects and lists are nested in plain JSON, without recursing into them."""
    level, deepest = [value], 0
    while level := [item for parent in level for item in _items(parent)]:
        deepest += 1
        if deepest > MAX_DEPTH:
            break
    return deepest


def _items(value: object) -> list[object]:
    match value:
        case dict():
            return list(value.values())
        case list():
            return value
        case _:
            return []
