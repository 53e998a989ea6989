"""Talks to a sandbox's control API: for tests, the demo and the bench.

async with SandboxClient(url) as sandbox:
    contact = await sandbox.create_phone(name="Ada")
    await sandbox.scan(instance_phone, qr)
    message_id = await sandbox.send(contact.phone, instance_phone, "hello")
"""

from collections.abc import Mapping, Sequence
from typing import Any, Self, TypeVar

import httpx2
import msgspec
import trio

from bridge.errors import BridgeError
from bridge.sandbox.shapes import (
    AddedFile,
    AppStateValue,
    AppStateValues,
    CodeInfo,
    CodeList,
    Copy,
    Done,
    Ended,
    FaultList,
    Health,
    Hit,
    Judged,
    Known,
    KnownPage,
    Linked,
    LoadInfo,
    LoadList,
    MessageId,
    MessageIds,
    MomentInfo,
    MomentList,
    Pairing,
    PhoneInfo,
    PhoneList,
    ProfileInfo,
    ReceiptInfo,
    ReceiptList,
    Ringing,
    ScheduleInfo,
    Sent,
    Text,
    Texts,
    Trimmed,
)

__all__ = [
    "Copy",
    "Health",
    "Known",
    "Linked",
    "Pairing",
    "PhoneInfo",
    "SandboxClient",
    "SandboxRefused",
    "Sent",
    "Text",
]

T = TypeVar("T")

_TIMEOUT_S = 60.0
_CLOSE_WITHIN_S = 5.0
_LOOK_EVERY_S = 0.1


class SandboxRefused(BridgeError):
    """The sandbox refused a call."""

    code = "sandbox_refused"
    status = 502

    def __init__(self, status: int, error: str, detail: str) -> None:
        super().__init__(f"{status} {error}: {detail}", status=status, error=error)
        self.http_status = status
        self.error = error


class SandboxClient:
    """A connection to the control API at `url`. Every call raises `SandboxRefused` for an error of the sandbox's."""

    def __init__(self, url: str) -> None:
        limits = httpx2.Limits(max_connections=50, max_keepalive_connections=10)
        self._http = httpx2.AsyncClient(base_url=url, trust_env=False, timeout=_TIMEOUT_S, limits=limits)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        with trio.move_on_after(_CLOSE_WITHIN_S, shield=True):
            await self.close()

    async def close(self) -> None:
        await self._http.aclose()

    async def create_phone(self, phone: str | None = None, name: str | None = None) -> PhoneInfo:
        """Make a contact; without a number it gets an unused one. An existing number is returned as it is."""
        return await self._call("POST", "/phones", PhoneInfo, {"phone": phone, "name": name})

    async def phone(self, phone: str) -> PhoneInfo:
        return await self._call("GET", f"/phones/{phone}", PhoneInfo)

    async def phones(self) -> list[PhoneInfo]:
        return (await self._call("GET", "/phones", PhoneList)).phones

    async def scan(self, phone: str, qr: str) -> Pairing:
        """Link the client that shows this QR to the phone, which is made if there is none with this number."""
        return await self._call("POST", f"/phones/{phone}/scan", Pairing, {"qr": qr})

    async def enter_code(self, phone: str, code: str) -> Pairing:
        """Link the client that shows this pairing code for the phone, which is made if there is none."""
        return await self._call("POST", f"/phones/{phone}/enter-code", Pairing, {"code": code})

    async def add_history(self, phone: str, messages: Sequence[Mapping[str, object]]) -> list[str]:
        """Give a phone a past, `{chat, text, from_me?, at?}` each; return the messages' ids."""
        body = {"messages": messages}
        return (await self._call("POST", f"/phones/{phone}/history", MessageIds, body)).message_ids

    async def profile(self, phone: str) -> ProfileInfo:
        return await self._call("GET", f"/phones/{phone}/profile", ProfileInfo)

    async def change_profile(self, phone: str, **changes: object) -> ProfileInfo:
        """Change `name`, `about`, `picture` (base64 of a JPEG, empty removes), `verified_name`, `privacy`."""
        return await self._call("PATCH", f"/phones/{phone}", ProfileInfo, changes)

    async def moments(self, phone: str, after: int = 0) -> list[MomentInfo]:
        """Return what a phone saw of others' presence and typing behind a cursor."""
        query = {"after": after}
        return (await self._call("GET", f"/phones/{phone}/moments", MomentList, query=query)).moments

    async def ring(self, phone: str, to: str) -> str:
        """Call somebody, whose linked clients hear it ring; return the call's id."""
        return (await self._call("POST", f"/phones/{phone}/ring", Ringing, {"to": to})).call_id

    async def block(self, phone: str, other: str, blocked: bool = True) -> ProfileInfo:
        """Block or unblock somebody, as the phone's owner does."""
        return await self._call("POST", f"/phones/{phone}/block", ProfileInfo, {"phone": other, "blocked": blocked})

    async def delete_for_me(self, phone: str, message_id: str, address: str = "lid") -> list[AppStateValue]:
        """Delete a message on a phone for its owner alone; `address` is lid or number. Return its app state."""
        body = {"message_id": message_id, "address": address}
        return (await self._call("POST", f"/phones/{phone}/delete-for-me", AppStateValues, body)).values

    async def codes(self) -> list[CodeInfo]:
        """Return the clients that wait to be scanned."""
        return (await self._call("GET", "/codes", CodeList)).waiting

    async def show_code(self, qr: str, name: str = "") -> None:
        """Show the sandbox the code that a client shows, so that its page can scan it."""
        await self._call("POST", "/codes", Done, {"qr": qr, "name": name})

    async def expire_codes(self) -> int:
        """Give the clients that wait to be scanned no more codes; return how many they were."""
        return (await self._call("DELETE", "/codes", Ended)).ended

    async def unlink(self, phone: str, device: int) -> None:
        """Remove a linked device, as the phone's owner does."""
        await self._call("DELETE", f"/phones/{phone}/devices/{device}", dict)

    async def send(self, phone: str, to: str, text: str) -> str:
        """Send a text from a phone to a number, a LID or a group; return its id."""
        return (await self._call("POST", f"/phones/{phone}/send", MessageId, {"to": to, "text": text})).message_id

    async def send_message(self, phone: str, to: str, kind: str, **fields: object) -> str:
        """Send a message of any kind, with its fields as in `docs/sandbox.md`; return its id."""
        body = {"to": to, "kind": kind, **fields}
        return (await self._call("POST", f"/phones/{phone}/send", MessageId, body)).message_id

    async def add_file(self, content: bytes) -> AddedFile:
        """Hand a file to the sandbox, for `send_message(..., file={"id": ...})`."""
        response = await self._http.post("/files", content=content, timeout=_TIMEOUT_S)
        return _decoded(response, AddedFile)

    async def file(self, phone: str, message_id: str) -> bytes:
        """Return the content of a received message's file, after the phone fetched, opened and checked it."""
        response = await self._http.get(f"/phones/{phone}/messages/{message_id}/file", timeout=_TIMEOUT_S)
        _refuse(response)
        return response.content

    async def receipts(self, phone: str, message_id: str | None = None, after: int = 0) -> list[ReceiptInfo]:
        """Return the receipts for what a phone sent, of one message or of all."""
        query = {"after": after, "limit": 10_000} | ({"message_id": message_id} if message_id else {})
        return (await self._call("GET", f"/phones/{phone}/receipts", ReceiptList, query=query)).receipts

    async def send_many(
        self,
        phone: str,
        to: list[str],
        *,
        texts: list[str] | None = None,
        count: int | None = None,
        rate: float | None = None,
        prefix: str = "load",
    ) -> Sent:
        """Send `texts`, or `count` texts `<prefix> 0`, `<prefix> 1`, ..., to the numbers in turn.

        It returns when all are out. `rate` is in texts a second; without it they go as fast as they can.
        """
        body = {"to": to, "texts": texts, "count": count, "rate": rate, "prefix": prefix}
        number = len(texts) if texts else count or 0
        timeout_s = _TIMEOUT_S + (number / rate if rate else number / 50)
        return await self._call("POST", f"/phones/{phone}/send-many", Sent, body, timeout_s=timeout_s)

    async def read(self, phone: str, message_id: str) -> None:
        """Tell the sender of a message that the phone's owner read it."""
        await self._call("POST", f"/phones/{phone}/read", MessageId, {"message_id": message_id})

    async def say(self, phone: str, message_ids: Sequence[str], type_: str) -> None:
        """Send receipts of a type for messages in a phone's inbox."""
        body = {"message_ids": list(message_ids), "type": type_}
        await self._call("POST", f"/phones/{phone}/receipts", MessageIds, body)

    async def messages(self, phone: str, after: int = 0, *, wait_s: int = 0, limit: int = 1000) -> list[Text]:
        """Return what a phone received behind a cursor; wait up to `wait_s` for the first."""
        query = {"after": after, "wait": wait_s, "limit": limit}
        return (await self._call("GET", f"/phones/{phone}/messages", Texts, query=query)).messages

    async def fault(self, kind: str, phone: str | None = None, seconds: float | None = None, **more: object) -> int:
        """Break something (docs/sandbox.md lists the kinds and what they take); return how many connections it hits."""
        values = {"phone": phone, "seconds": seconds, **more}
        body = {"kind": kind} | {name: value for name, value in values.items() if value is not None}
        return (await self._call("POST", "/faults", Hit, body)).connections

    async def faults(self) -> FaultList:
        """Return the faults that are active or over, with how often each struck, and the schedules."""
        return await self._call("GET", "/faults", FaultList)

    async def end_faults(self) -> int:
        """End all faults and schedules; return how many faults there were."""
        return (await self._call("DELETE", "/faults", Ended)).ended

    async def schedule_faults(
        self, seed: int, *, seconds: float, count: int, kinds: Sequence[str] = (), phones: Sequence[str] = ()
    ) -> ScheduleInfo:
        """Begin with `count` faults drawn from the seed within `seconds`; return them with their times."""
        body = {"seed": seed, "seconds": seconds, "count": count, "kinds": list(kinds), "phones": list(phones)}
        return await self._call("POST", "/faults/schedule", ScheduleInfo, body)

    async def oracle(self, phone: str | None = None, after: int = 0) -> list[Known]:
        """Return all messages behind a place in their order, of one phone as sender or recipient or of all."""
        found: list[Known] = []
        while True:
            query = {"after": after, "limit": 5000} | ({"phone": phone} if phone else {})
            page = await self._call("GET", "/oracle", KnownPage, query=query)
            if not page.messages:
                return found
            found += page.messages
            after = page.next_after

    async def load(self, *, wait: bool = True, **plan: object) -> LoadInfo:
        """Send a load (`instances`, `contacts`, `rate_per_s`, `count`, `kind`, `seed`); return when all is out."""
        told = await self._call("POST", "/load", LoadInfo, plan)
        while wait and not told.done:
            await trio.sleep(_LOOK_EVERY_S)
            loads = (await self._call("GET", "/load", LoadList)).loads
            told = next(load for load in loads if load.number == told.number)
        return told

    async def verdict(self, phone: str | None = None, arrived: Sequence[str] | None = None, after: int = 0) -> Judged:
        """Judge messages by their acknowledgements, or by the ids that `arrived` somewhere, in that order."""
        only = {"phone": phone} if phone else {}
        if arrived is None:
            return await self._call("GET", "/oracle/verdict", Judged, query={"after": after, **only})
        body = {"message_ids": list(arrived), "after": after, **only}
        return await self._call("POST", "/oracle/verdict", Judged, body)

    async def trim_oracle(self, until: int | None = None) -> int:
        """Forget the messages up to this place, or all; return how many."""
        query = {} if until is None else {"until": until}
        return (await self._call("DELETE", "/oracle", Trimmed, query=query)).trimmed

    async def health(self) -> Health:
        return await self._call("GET", "/health", Health)

    async def _call(
        self,
        method: str,
        path: str,
        kind: type[T],
        body: object = None,
        *,
        query: dict[str, Any] | None = None,
        timeout_s: float = _TIMEOUT_S,
    ) -> T:
        content = None if body is None else msgspec.json.encode(body)
        response = await self._http.request(method, path, content=content, params=query, timeout=timeout_s)
        return _decoded(response, kind)


def _decoded(response: httpx2.Response, kind: type[T]) -> T:
    _refuse(response)
    return msgspec.json.decode(response.content, type=kind)


def _refuse(response: httpx2.Response) -> None:
    if response.is_error:
        error = response.json().get("error", {})
        raise SandboxRefused(response.status_code, error.get("code", ""), error.get("message", ""))
