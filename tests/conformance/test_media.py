"""Files in both directions through the sandbox's media host: sealed, hashed, and the same at the other end."""

import base64
import hashlib
import random
from pathlib import Path

import pytest
import trio

from bridge.protos import e2e, neonize_pb
from bridge.sandbox.client import SandboxClient, SandboxRefused
from tests.support.conformance import Contact, Refused, Stage, data, proto

pytestmark = pytest.mark.engine

KINDS = {
    "image": ("imageMessage", "MediaImage", "image/jpeg"),
    "video": ("videoMessage", "MediaVideo", "video/mp4"),
    "audio": ("audioMessage", "MediaAudio", "audio/mpeg"),
    "voice": ("audioMessage", "MediaAudio", "audio/ogg; codecs=opus"),
    "document": ("documentMessage", "MediaDocument", "application/octet-stream"),
    "sticker": ("stickerMessage", "MediaImage", "image/webp"),
}


def _content(size: int = 70_001) -> bytes:
    return random.Random(size).randbytes(size)


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_from_a_contact_is_downloaded_and_is_the_same(calm: Stage, contact: Contact, kind: str) -> None:
    content = _content()
    caption = {} if kind in ("audio", "voice", "sticker") else {"caption": "look"}
    sent = contact.send(
        calm.a.phone,
        kind=kind,
        file={"data": base64.b64encode(content).decode(), "seconds": 3, "name": "a.bin", "width": 4, "height": 5},
        **caption,
    )
    event = calm.a.message(sent)
    message = event["data"]["Message"]
    message = message.get("documentWithCaptionMessage", {}).get("message", message)
    held = message[KINDS[kind][0]]
    assert (held["mimetype"], held.get("caption"), held.get("PTT")) == (
        KINDS[kind][2],
        caption.get("caption"),
        True if kind == "voice" else None,
    )
    assert base64.b64decode(held["fileSHA256"]) == hashlib.sha256(content).digest()
    downloaded = calm.a.call("download_any", _of(event))
    assert base64.b64decode(downloaded["bytes"]) == content


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_from_the_client_reaches_the_contact_and_is_the_same(calm: Stage, contact: Contact, kind: str) -> None:
    content = _content(50_000)
    name, media_type, mime = KINDS[kind]
    up = calm.a.call("upload", data(content), {"enum": ["MediaType", media_type]})["data"]
    message = e2e.Message()
    held = getattr(message, name)
    held.URL, held.directPath, held.mimetype = up["url"], up["DirectPath"], mime
    held.mediaKey, held.fileLength = base64.b64decode(up["MediaKey"]), len(content)
    held.fileSHA256 = base64.b64decode(up["FileSHA256"])
    held.fileEncSHA256 = base64.b64decode(up["FileEncSHA256"])
    if kind == "voice":
        held.PTT = True
    sent = calm.a.send(contact.phone, message)
    got = contact.got(sent)
    assert (got["kind"], got["media"]["sha256"]) == (kind, hashlib.sha256(content).hexdigest())
    assert (got["media"]["size"], got["media"]["mime"]) == (len(content), mime)
    checked = contact.get(f"messages/{sent}/file/check")
    assert (checked["sha256"], checked["size"]) == (hashlib.sha256(content).hexdigest(), len(content))
    assert calm.sandbox.download(f"/phones/{contact.phone}/messages/{sent}/file") == content


def test_a_large_file_goes_through_in_pieces(calm: Stage, contact: Contact) -> None:
    content = _content(20 << 20)
    added = calm.sandbox.upload("/files", content)
    assert added["sha256"] == hashlib.sha256(content).hexdigest()
    sent = contact.send(calm.a.phone, kind="document", file={"id": added["id"], "name": "large.bin"})
    event = calm.a.message(sent)
    downloaded = calm.a.call("download_any", _of(event))
    assert hashlib.sha256(base64.b64decode(downloaded["bytes"])).hexdigest() == added["sha256"]
    assert _peak_mb(calm) < 120


async def test_files_and_receipts_through_the_client_of_the_control_api(calm: Stage, contact: Contact) -> None:
    async with SandboxClient(calm.sandbox.ready["control"]) as client:
        added = await client.add_file(b"some bytes")
        sent = await client.send_message(contact.phone, calm.a.phone, "document", file={"id": added.id, "name": "a"})
        with trio.fail_after(30):
            while True:
                receipts = await client.receipts(contact.phone, sent)
                if receipts:
                    break
                await trio.sleep(0.02)
        assert receipts[0].sender == calm.a.phone
        again = await client.send_message(contact.phone, calm.a.phone, "text", text="and back", quote=sent)
        assert again != sent
        with pytest.raises(SandboxRefused) as refused:
            await client.file(contact.phone, sent)
        assert refused.value.error == "unknown_message"


def test_a_file_that_is_gone_is_refused_with_404(calm: Stage, contact: Contact) -> None:
    sent = contact.send(calm.a.phone, kind="image", file={"size": 1000})
    message = e2e.Message()
    message.ParseFromString(_message_bytes(calm.a.message(sent)))
    message.imageMessage.directPath = message.imageMessage.directPath.replace("24/", "24/0", 1)
    with pytest.raises(RuntimeError, match="404"):
        calm.a.call("download_any", proto("Message", message))


@pytest.mark.parametrize("status", [403, 404, 410])
def test_a_media_host_that_fails_is_told_as_it_is(calm: Stage, contact: Contact, status: int) -> None:
    sent = contact.send(calm.a.phone, kind="image", file={"size": 1000})
    event = calm.a.message(sent)
    calm.sandbox.post("/faults", kind="media", code=status, direction="download", count=1)
    with pytest.raises(RuntimeError, match=str(status)):
        calm.a.call("download_any", _of(event))
    assert calm.a.call("download_any", _of(event))["bytes"]


def test_a_client_refuses_a_file_that_was_changed_on_the_host(calm: Stage, contact: Contact) -> None:
    sent = contact.send(calm.a.phone, kind="image", file={"size": 1000})
    message = e2e.Message()
    message.ParseFromString(_message_bytes(calm.a.message(sent)))
    name = message.imageMessage.fileEncSHA256.hex()
    file = calm.sandbox.folder / "media" / name
    file.write_bytes(b"\0" * file.stat().st_size)
    with pytest.raises(RuntimeError):
        calm.a.call("download_any", proto("Message", message))


def test_a_contact_refuses_a_file_that_is_not_what_its_message_says(calm: Stage, contact: Contact) -> None:
    up = calm.a.call("upload", data(b"one thing"), {"enum": ["MediaType", "MediaImage"]})["data"]
    image = e2e.ImageMessage(directPath=up["DirectPath"], mimetype="image/png", fileLength=9)
    image.mediaKey, image.fileEncSHA256 = base64.b64decode(up["MediaKey"]), base64.b64decode(up["FileEncSHA256"])
    image.fileSHA256 = hashlib.sha256(b"another").digest()
    sent = calm.a.send(contact.phone, e2e.Message(imageMessage=image))
    contact.got(sent)
    with pytest.raises(Refused) as refused:
        contact.get(f"messages/{sent}/file/check")
    assert (refused.value.status, refused.value.code) == (422, "bad_media")


def _of(event: dict) -> dict:
    return proto("Message", base64.b64encode(_message_bytes(event)).decode())


def _message_bytes(event: dict) -> bytes:
    return neonize_pb.Message.FromString(base64.b64decode(event["b64"])).Message.SerializeToString()


def _peak_mb(stage: Stage) -> float:
    status = Path(f"/proc/{stage.sandbox.process.pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024
