"""What is decided about media without touching a file: retries, names, types, links."""

import pytest

from bridge.domain.ids import InstanceKey
from bridge.domain.media import GONE_ATTEMPTS, WAITS_S, Over, Retry, after_failure, media_id, media_path
from bridge.media.links import Links, new_secret
from bridge.media.sniff import extension, sniff

KEY = InstanceKey("a" * 32)


def test_a_failed_download_waits_longer_each_time_and_then_has_failed() -> None:
    waits = []
    attempts = 0
    while isinstance(next_ := after_failure("i/o timeout", attempts=attempts + 1, gone=0, jitter=0), Retry):
        waits.append(next_.after_s)
        attempts += 1
    assert tuple(waits) == WAITS_S
    assert next_ == Over("failed")


@pytest.mark.parametrize("status", [403, 404, 410])
def test_what_whatsapp_has_no_more_is_expired_but_not_at_its_first_word(status: int) -> None:
    error, gone = f"failed to download media from last host: download failed with status code {status}", 0
    for attempt in range(1, GONE_ATTEMPTS):
        decision = after_failure(error, attempts=attempt, gone=gone, jitter=0)
        assert isinstance(decision, Retry)
        gone = decision.gone
    assert after_failure(error, attempts=GONE_ATTEMPTS, gone=gone, jitter=0) == Over("expired")


def test_another_error_in_between_starts_the_count_of_gone_again() -> None:
    decision = after_failure("connection reset", attempts=2, gone=GONE_ATTEMPTS - 1, jitter=0)
    assert decision == Retry(WAITS_S[1], 0)


def test_an_error_that_stays_is_not_tried_again() -> None:
    assert after_failure("invalid media hmac", attempts=1, gone=0, jitter=0) == Over("failed")


def test_two_reports_of_a_message_name_one_file_and_two_messages_two() -> None:
    assert media_id(KEY, "m1") == media_id(KEY, "m1") != media_id(KEY, "m2")
    assert media_id(InstanceKey("b" * 32), "m1") != media_id(KEY, "m1")
    assert len(media_id(KEY, "m1")) == 30
    assert media_path(KEY, 1_700_000_000.9, "m1", ".jpg") == media_path(KEY, 1_700_000_000.9, "m1", ".jpg")


def test_the_path_has_the_originals_form() -> None:
    path = media_path(KEY, 1_700_000_000.9, "m1", ".jpg")
    key, day, name = path.split("/")
    assert (key, day) == (KEY, "2023-11-14")
    assert name.startswith("1700000000-")
    assert len(name) == len("1700000000-") + 36 + len(".jpg")
    assert media_path(KEY, 1e300, "m1", "").split("/")[1] == "1970-01-01"


@pytest.mark.parametrize(
    ("head", "name", "mime_type"),
    [
        (b"\xff\xd8\xff\xe0\0\x10JFIF", "", "image/jpeg"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "x.exe", "image/png"),
        (b"RIFF\x10\0\0\0WEBPVP8 ", "", "image/webp"),
        (b"RIFF\x10\0\0\0WAVEfmt ", "", "audio/wav"),
        (b"GIF89a", "", "image/gif"),
        (b"\0\0\0 ftypisom\0\0\2\0", "", "video/mp4"),
        (b"\0\0\0 ftyp3gp4\0\0\2\0", "", "video/3gpp"),
        (b"\0\0\0 ftypM4A \0\0\2\0", "", "audio/mp4"),
        (b"OggS\0\2" + bytes(20) + b"\x01\x13OpusHead", "", "audio/ogg"),
        (b"ID3\4\0", "", "audio/mpeg"),
        (b"\xff\xfb\x90\x64", "", "audio/mpeg"),
        (b"\xff\xf1\x50\x80", "", "audio/aac"),
        (b"\x1aE\xdf\xa3\x01\0\0\0\0\0\0\x1fB\x86\x81\x01B\x82\x84webm", "", "video/webm"),
        (b"%PDF-1.7\n", "a.jpg", "application/pdf"),
        (
            b"PK\x03\x04\x14\0",
            "offer.docx",
            "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
        ),
        (b"PK\x03\x04\x14\0", "holiday.jpg", "application/zip"),
        (b"name;price\r\n", "prices.csv", "text/csv"),
        (b"<script>alert(1)</script>", "x.html", "text/plain"),
        ("ä".encode() * 2047 + b"xx" + "ä".encode()[:1], "", "text/plain"),
        (b"\0\1\2\3", "", "application/octet-stream"),
        (b"", "", "application/octet-stream"),
    ],
)
def test_a_file_is_what_it_begins_with(head: bytes, name: str, mime_type: str) -> None:
    assert sniff(head, name) == mime_type


def test_the_ending_follows_from_the_type() -> None:
    assert extension("image/jpeg") == ".jpg"
    assert extension("audio/ogg; codecs=opus") == ".ogg"
    assert extension("../../etc/passwd") == ".bin"


def test_a_link_opens_its_file_until_its_time_and_nothing_else() -> None:
    links = Links(new_secret())
    link = links.sign("/media/x/1.jpg", 1_000.7)
    path, _, query = link.partition("?")
    exp, sig = (part.partition("=")[2] for part in query.split("&"))
    assert links.opens(path, exp, sig, 999)
    assert not links.opens(path, exp, sig, 1_000)
    assert not links.opens("/media/x/2.jpg", exp, sig, 999)
    assert not links.opens(path, "2000", sig, 999)
    assert not links.opens(path, exp, sig[:-1], 999)
    assert not links.opens(path, exp, None, 999)
    assert not links.opens(path, None, sig, 999)
    assert not links.opens(path, "٣", sig, 1)
    assert not links.opens(path, exp, "ü\udc80", 999)
    assert not Links(new_secret()).opens(path, exp, sig, 999)
