"""Media through the whole product: `bridge up --sandbox`, a simulated contact, real files in both directions."""

import base64
import hashlib
import io
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
import pytest
from PIL import Image

from tests.support import samples
from tests.support.fileserver import Answer, response, server
from tests.support.stack import Stack, running_stack, until

pytestmark = pytest.mark.engine
CONTACT, OWN = "4915112345678", "4915187654321"


@dataclass
class Rig:
    """A paired instance and a contact of it."""

    stack: Stack
    key: str
    control: httpx2.AsyncClient

    async def send(self, path: str, expect: int = 200, **body: Any) -> dict[str, Any]:
        given = {"instance_key": self.key, "phone": CONTACT, **body}
        answer = await self.stack.api.post(path, json=given)
        assert answer.status_code == expect, answer.text
        found: dict[str, Any] = answer.json()
        return found

    async def arrived(self, message_id: str) -> dict[str, Any]:
        """Return a message as the contact's phone has it, once its file was opened and checked there."""
        found: list[dict[str, Any]] = []

        async def there() -> bool:
            page = (await self.control.get(f"/phones/{CONTACT}/messages")).json()
            found[:] = [message for message in page["messages"] if message["message_id"] == message_id]
            return bool(found)

        await until(there)
        check = await self.control.get(f"/phones/{CONTACT}/messages/{message_id}/file/check")
        assert check.status_code == 200, check.text
        return found[0]

    async def content(self, message_id: str) -> bytes:
        answer = await self.control.get(f"/phones/{CONTACT}/messages/{message_id}/file")
        assert answer.status_code == 200
        return answer.content

    async def from_contact(self, to: str = OWN, **what: Any) -> str:
        answer = await self.control.post(f"/phones/{CONTACT}/send", json={"to": to, **what})
        assert answer.status_code < 300, answer.text
        return str(answer.json()["message_id"])

    async def event(self, type_: str, message_id: str, status: str | None = None) -> dict[str, Any]:
        """Return the data of the webhook about a message."""
        found: list[dict[str, Any]] = []

        async def there() -> bool:
            bodies = [event["body"] for event in await self.stack.received(type=type_)]
            found[:] = [
                body
                for body in bodies
                if body["data"].get("message_id") == message_id
                and status in (None, body["data"].get("media", {}).get("status"))
            ]
            return bool(found)

        await until(there)
        return found[0]


@asynccontextmanager
async def rig(tmp_path: Path, **environment: str) -> AsyncIterator[Rig]:
    async with running_stack(tmp_path / "data", **environment) as stack:
        for phone in (CONTACT, OWN):
            await stack.sandbox.create_phone(phone)
        key = await stack.pair(OWN)
        async with httpx2.AsyncClient(base_url=stack.ready["sandbox"], trust_env=False, timeout=60) as control:
            yield Rig(stack, key, control)


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


async def test_every_kind_of_file_is_sent_as_a_phone_shows_it(tmp_path: Path) -> None:
    files: dict[str, Answer | bytes] = {
        "/photo.jpg": response(body=samples.picture(), content_type="text/plain"),
        "/movie": response(body=samples.video(), content_type="application/octet-stream"),
        "/away": response(302, location="http://169.254.169.254/latest"),
        "/missing": response(404),
        "/page": response(body=b"<html>", content_type="image/jpeg"),
    }
    async with server(files) as (port, asked):
        base = f"http://127.0.0.1:{port}"
        async with rig(tmp_path, BRIDGE_MEDIA_ALLOW=f"127.0.0.1:{port}", BRIDGE_MEDIA_MAX_BYTES="2000000") as one:
            sent = await one.send("/message/send-media", type="image", url=f"{base}/photo.jpg", caption="look")
            seen = await one.arrived(sent["message_id"])
            assert (sent["status"], seen["kind"], seen["media"]["mime"]) == ("sent", "image", "image/jpeg")
            assert (seen["media"]["width"], seen["media"]["height"]) == (320, 200)
            assert seen["media"]["thumbnail_bytes"] > 500
            assert seen["caption"] == "look"
            assert await one.content(sent["message_id"]) == samples.picture()

            reply = await one.send(
                "/message/send-media", type="video", url=f"{base}/movie", reply_to=sent["message_id"], view_once=True
            )
            seen = await one.arrived(reply["message_id"])
            assert (seen["kind"], seen["media"]["seconds"], seen["media"]["width"]) == ("video", 2, 160)
            assert (
                seen["quote"]["message_id"] == sent["message_id"] if isinstance(seen["quote"], dict) else seen["quote"]
            )

            voice = await one.send("/message/send-voice", base64=b64(samples.wav(4)))
            seen = await one.arrived(voice["message_id"])
            assert (seen["kind"], seen["media"]["seconds"], len(seen["media"]["waveform"])) == ("voice", 4, 64)
            assert seen["media"]["mime"] == "audio/ogg; codecs=opus"
            assert (await one.content(voice["message_id"]))[:4] == b"OggS"
            ptt = await one.send("/message/send-media", type="audio", is_ptt=True, base64=b64(samples.sound()))
            assert (await one.arrived(ptt["message_id"]))["kind"] == "voice"
            audio = await one.send("/message/send-media", type="audio", base64=b64(samples.sound()))
            assert (await one.arrived(audio["message_id"]))["kind"] == "audio"

            sticker = await one.send("/message/send-sticker", base64=b64(samples.picture("PNG", mode="RGBA")))
            seen = await one.arrived(sticker["message_id"])
            assert (seen["kind"], seen["media"]["mime"]) == ("sticker", "image/webp")
            assert Image.open(io.BytesIO(await one.content(sticker["message_id"]))).size == (512, 512)

            gif = await one.send("/message/send-media", type="image", gif=True, base64=b64(samples.animation()))
            assert (await one.arrived(gif["message_id"]))["kind"] == "gif"

            upload = await one.stack.api.post(
                f"/media/{one.key}", files={"file": ("offer.pdf", samples.pdf(), "text/plain")}
            )
            assert upload.status_code == 201, upload.text
            media_id = upload.json()["media_id"]
            document = await one.send("/message/send-media", type="file", media_id=media_id, caption="ours")
            seen = await one.arrived(document["message_id"])
            assert (seen["kind"], seen["media"]["file_name"], seen["media"]["pages"]) == ("document", "offer.pdf", 3)
            assert await one.content(document["message_id"]) == samples.pdf()

            await sent_once(one, files, f"{base}/photo.jpg")

            for status, code, body in (
                (422, "url_refused", {"type": "image", "url": f"{base}/away"}),
                (422, "url_refused", {"type": "image", "url": "http://localhost/x"}),
                (422, "media_unreachable", {"type": "image", "url": f"{base}/missing"}),
                (422, "media_unsuitable", {"type": "image", "url": f"{base}/page"}),
                (422, "media_unsuitable", {"type": "video", "base64": b64(samples.picture())}),
                (422, "media_unsuitable", {"type": "image", "base64": "!"}),
                (413, "media_too_large", {"type": "file", "base64": b64(bytes(2_000_001))}),
                (404, "media_not_found", {"type": "image", "media_id": "med_unknown"}),
                (400, "invalid_field", {"type": "image"}),
                (400, "invalid_field", {"type": "image", "media_id": media_id, "base64": "eA=="}),
                (400, "invalid_field", {"type": "image", "is_ptt": True, "base64": "eA=="}),
            ):
                refused = await one.send("/message/send-media", expect=status, **body)
                assert refused["code"] == code, refused
            spool = tmp_path / "data" / "media" / "spool"
            assert os.listdir(spool) == [], "nothing is kept of what was refused, or on its way"  # noqa: PTH208
        assert "/photo.jpg" in asked


async def sent_once(one: Rig, files: dict[str, Answer | bytes], url: str) -> None:
    """A repeated send fetches nothing: its file may be gone by then."""
    path, headers = urlsplit(url).path, {"Idempotency-Key": "photo-1"}
    body = {"instance_key": one.key, "phone": CONTACT, "type": "image", "url": url, "caption": "once"}
    first = await one.stack.api.post("/message/send-media", json=body, headers=headers)
    assert first.status_code == 200, first.text
    there, files[path] = files[path], response(404)
    again = await one.stack.api.post("/message/send-media", json=body, headers=headers)
    assert again.status_code == 200, again.text
    assert again.json()["message_id"] == first.json()["message_id"]
    other = await one.stack.api.post("/message/send-media", json={**body, "caption": "other"}, headers=headers)
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_mismatch")
    new = await one.stack.api.post("/message/send-media", json=body, headers={"Idempotency-Key": "photo-2"})
    assert (new.status_code, new.json()["code"]) == (422, "media_unreachable")
    files[path] = there


async def test_files_of_every_kind_come_in_are_kept_and_served(tmp_path: Path) -> None:
    async with rig(tmp_path) as one:
        data = samples.picture()
        for kind, content, ending in (
            ("image", data, ".jpg"),
            ("video", samples.video(), ".mp4"),
            ("voice", samples.sound("ogg", "libopus", layout="mono"), ".ogg"),
            ("document", samples.pdf(), ".bin"),
            ("sticker", samples.picture("WEBP"), ".webp"),
        ):
            caption = {"caption": "seen"} if kind in ("image", "video", "document") else {}
            once = {"view_once": True} if kind == "video" else {}
            file = {"data": b64(content), "name": "offer.pdf"}
            message = await one.from_contact(kind=kind, file=file, **caption, **once)
            first = (await one.event("message.received", message))["data"]
            assert first["media"]["status"] == "pending"
            assert first["media_path"].startswith(f"{one.key}/")
            assert first["media_path"].endswith(ending), first["media_path"]
            assert first["local_file_url"] == one.stack.ready["api"] + first["media_url"]
            assert first["media_type"] == ("audio" if kind == "voice" else kind)
            body = await one.event("media.updated", message)
            assert (body["event"], body["data"]["chat_id"]) == ("media_updated", first["chat_id"])
            media = body["data"]["media"]
            assert (media["status"], media["id"]) == ("available", first["media"]["id"])
            assert media["sha256"] == hashlib.sha256(content).hexdigest()
            async with httpx2.AsyncClient(trust_env=False) as stranger:
                got = await stranger.get(first["local_file_url"])
                assert (got.status_code, got.content) == (200, content), "the first event's link opens it too"
                assert got.headers["x-content-type-options"] == "nosniff"
            if kind == "document":
                assert got.headers["content-disposition"].startswith("attachment")
                assert got.headers["content-type"] == "application/pdf"
        await served(one, first["media_path"], media["id"], samples.picture("WEBP"))
        await in_a_group(one)
        assert "media.left_to_engine" not in one.stack.log(), "the downloader got them all"


async def in_a_group(one: Rig) -> None:
    """Files of a group, wrapped as view-once and as a document with a caption, and one that is sent there."""
    made = await one.control.post("/groups", json={"phone": CONTACT, "subject": "Trip", "members": [OWN]})
    assert made.status_code == 201, made.text
    group = made.json()["group"]
    for kind, content, around in (
        ("image", samples.picture(size=(64, 48)), {}),
        ("image", samples.picture(size=(48, 64)), {"view_once": True}),
        ("document", samples.pdf() + b"\n", {"caption": "the plan"}),
    ):
        message = await one.from_contact(group, kind=kind, file={"data": b64(content), "name": "plan.pdf"}, **around)
        data = (await one.event("message.received", message))["data"]
        assert (data["chat_id"], data["is_group"], data["media_type"]) == (group, True, kind), data
        assert data["sender_id"] != group
        media = (await one.event("media.updated", message))["data"]["media"]
        assert (media["status"], media["sha256"]) == ("available", hashlib.sha256(content).hexdigest())
        got = await one.stack.api.get(urlsplit(media["url"]).path)
        assert (got.status_code, got.content) == (200, content)
        if kind == "document":
            assert "plan.pdf" in got.headers["content-disposition"]
    sent = await one.send("/message/send-media", phone=group, type="image", base64=b64(samples.picture()), caption="us")
    assert (sent["status"], sent["to"]) == ("sent", group)
    seen = await one.arrived(sent["message_id"])
    assert (seen["kind"], seen["caption"]) == ("image", "us")


async def served(one: Rig, path: str, media_id: str, content: bytes) -> None:
    """Ranges, conditions, and who may have a file."""
    api, url = one.stack.api, f"/media/{path}"
    whole = await api.get(f"/media/{one.key}/{media_id}")
    assert (whole.status_code, whole.content, whole.headers["accept-ranges"]) == (200, content, "bytes")
    size, etag = len(content), whole.headers["etag"]
    for asked, status, start, stop in (
        ("bytes=0-9", 206, 0, 10),
        (f"bytes={size - 5}-", 206, size - 5, size),
        ("bytes=-7", 206, size - 7, size),
        ("bytes=5-99999999", 206, 5, size),
        ("bytes=0-1,4-5", 200, 0, size),
        ("lines=1-2", 200, 0, size),
    ):
        got = await api.get(url, headers={"range": asked})
        assert (got.status_code, got.content) == (status, content[start:stop]), asked
        if status == 206:
            assert got.headers["content-range"] == f"bytes {start}-{stop - 1}/{size}"
    assert (await api.get(url, headers={"range": f"bytes={size}-"})).status_code == 416
    assert (await api.get(url, headers={"range": "bytes=0-1", "if-range": '"other"'})).status_code == 200
    cached = await api.get(url, headers={"if-none-match": etag})
    assert (cached.status_code, cached.content) == (304, b"")
    head = await api.head(url)
    assert (head.status_code, head.headers["content-length"], head.content) == (200, str(size), b"")
    async with httpx2.AsyncClient(base_url=one.stack.ready["api"], trust_env=False) as stranger:
        assert (await stranger.get(url)).status_code == 401
        assert (await stranger.get(f"{url}?exp=9999999999&sig=x")).json()["code"] == "link_refused"
        assert (await stranger.get(f"/media/{one.key}/{media_id}")).status_code == 401
        assert (await stranger.post(f"/media/{one.key}", content=b"x")).status_code == 401
    for bad in (f"/media/{one.key}/2026-01-01/..%2F..%2Fsecret", f"/media/{one.key}/..%2f..%2fetc/passwd", f"{url}x"):
        assert (await api.get(bad)).status_code == 404, bad
    assert (await api.get(f"/media/{'0' * 32}/{media_id}")).status_code == 404


async def test_a_download_that_fails_is_tried_again_and_ends_as_expired_until_somebody_asks(tmp_path: Path) -> None:
    async with rig(tmp_path) as one:
        await one.control.post("/faults", json={"kind": "media", "code": 500, "direction": "download", "count": 1})
        message = await one.from_contact(kind="image", file={"data": b64(samples.picture())})
        assert (await one.event("media.updated", message))["data"]["media"]["status"] == "available"

        await one.control.post("/faults", json={"kind": "media", "code": 404, "direction": "download", "count": 1})
        message = await one.from_contact(kind="image", file={"data": b64(samples.picture(size=(80, 80)))})
        assert (await one.event("media.updated", message))["data"]["media"]["status"] == "available"
        assert one.stack.log().count("media.left_to_engine") == 1, "the engine asks where WhatsApp sends its session"

        fault = {"kind": "media", "code": 410, "direction": "download", "seconds": 3600}
        assert (await one.control.post("/faults", json=fault)).status_code < 300
        message = await one.from_contact(kind="image", file={"data": b64(samples.picture(size=(90, 90)))})
        media_id = (await one.event("message.received", message))["data"]["media"]["id"]
        pending = await one.stack.api.get(f"/media/{one.key}/{media_id}")
        assert (pending.status_code, pending.json()["code"]) == (409, "media_pending")

        async def tried(times: int) -> bool:
            answer = await one.stack.api.post(f"/media/{one.key}/{media_id}/retry")
            assert answer.status_code == 202
            return bool(answer.json()["attempts"] >= times)

        for times in (1, 2):
            await until(partial(tried, times))
        ended = await one.event("media.updated", message, "expired")
        assert "410" in ended["data"]["media"]["reason"]
        gone = await one.stack.api.get(f"/media/{one.key}/{media_id}")
        assert (gone.status_code, gone.json()["code"]) == (410, "media_gone")

        await one.control.delete("/faults")
        assert (await one.stack.api.post(f"/media/{one.key}/{media_id}/retry")).status_code == 202
        there = await one.event("media.updated", message, "available")
        assert (await one.stack.api.get(urlsplit(there["data"]["media"]["url"]).path)).status_code == 200
        again = await one.stack.api.post(f"/media/{one.key}/{media_id}/retry")
        assert (again.status_code, again.json()["code"]) == (409, "media_not_retryable")
        unknown = await one.stack.api.post(f"/media/{one.key}/med_unknown/retry")
        assert (unknown.status_code, unknown.json()["code"]) == (404, "media_not_found")
