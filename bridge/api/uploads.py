"""The body of an upload: the file itself, or a form with the file as a part, taken as it comes."""

from collections.abc import AsyncIterator, Mapping
from pathlib import PurePosixPath

from quart.wrappers import Request
from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.http import parse_options_header
from werkzeug.sansio.multipart import Data, Epilogue, Event, File, MultipartDecoder, NeedData

from bridge.api.edge import Inflow
from bridge.api.problems import InvalidField

NAME_CHARS = 255


def file_name(text: str) -> str:
    """Return the last part of a name that a stranger chose, without what no name needs."""
    name = PurePosixPath(text.replace("\\", "/")).name
    return "".join(character for character in name if character.isprintable())[:NAME_CHARS]


async def parts(request: Request, headers: Mapping[bytes, bytes], inflow: Inflow) -> AsyncIterator[tuple[str, bytes]]:
    """Yield the file's name (as far as it has one) and bytes; raise `InvalidField` for a form without a file."""
    kind, options = parse_options_header(headers.get(b"content-type", b"").decode("latin-1"))
    if kind != "multipart/form-data":
        async for data in request.body:
            yield "", data
            inflow.taken(len(data))
        return
    if not options.get("boundary"):
        raise InvalidField("Content-Type", "is a form without a boundary")
    form = _Form(options["boundary"].encode("latin-1"))
    async for data in request.body:
        for name, piece in form.feed(data):
            yield name, piece
        inflow.taken(len(data))
    for name, piece in form.feed(None):
        yield name, piece
    if not form.found:
        raise InvalidField("body", "is a form without a file")


class _Form:
    """Finds the first file in a form."""

    def __init__(self, boundary: bytes) -> None:
        self._decoder = MultipartDecoder(boundary, max_form_memory_size=65_536, max_parts=20)
        self._name = ""
        self._inside = False
        self.found = False

    def feed(self, data: bytes | None) -> list[tuple[str, bytes]]:
        """Return what `data`, or the end (None), adds to the file."""
        out: list[tuple[str, bytes]] = []
        try:
            self._decoder.receive_data(data)
            while not isinstance(event := self._decoder.next_event(), NeedData | Epilogue):
                self._take(event, out)
        except (ValueError, RequestEntityTooLarge):
            raise InvalidField("body", "is not a form that can be read") from None
        return out

    def _take(self, event: Event, out: list[tuple[str, bytes]]) -> None:
        match event:
            case File(filename=name) if not self.found:
                self._name, self._inside, self.found = name, True, True
            case Data(data=data, more_data=more) if self._inside:
                out.append((self._name, data))
                self._inside = more
