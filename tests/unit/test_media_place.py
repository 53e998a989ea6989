"""Where the downloader goes for a file: to WhatsApp's media hosts, as the sessions go, whatever a message says."""

from typing import Any

import pytest

from bridge.engine.downloader.place import MEDIA_HOST, place_of
from bridge.engine.downloader.pool import Route, route
from bridge.engine.wire import SandboxTrust
from bridge.protos import e2e

HASH, OTHER = b"\xff" * 32, b"p" * 32


def source(**more: Any) -> bytes:
    file: dict[str, Any] = {"mediaKey": b"k" * 32, "fileSHA256": OTHER, "fileEncSHA256": HASH, "fileLength": 5}
    document = e2e.DocumentMessage(**{name: value for name, value in (file | more).items() if value is not None})
    return bytes(e2e.Message(documentMessage=document).SerializeToString())


def test_a_direct_path_is_asked_for_at_whatsapps_media_host_as_the_library_asks() -> None:
    found = place_of(source(directPath="/v/t62?ccb=1", URL="https://evil.example/v/t62"))
    assert found is not None
    token = "_" * 42 + "8="
    assert (found.host, found.target) == (MEDIA_HOST, f"/v/t62?ccb=1&hash={token}&mms-type=document&__wa-mms=")
    assert (found.info, found.media_key, found.sealed_sha256, found.sha256) == (
        "WhatsApp Document Keys",
        b"k" * 32,
        HASH,
        OTHER,
    )
    assert "kkkk" not in repr(found)


@pytest.mark.parametrize(
    ("part", "info", "word"),
    [
        ("imageMessage", "WhatsApp Image Keys", "image"),
        ("videoMessage", "WhatsApp Video Keys", "video"),
        ("audioMessage", "WhatsApp Audio Keys", "audio"),
        ("documentMessage", "WhatsApp Document Keys", "document"),
        ("stickerMessage", "WhatsApp Image Keys", "image"),
    ],
)
def test_every_kind_has_its_words(part: str, info: str, word: str) -> None:
    message = e2e.Message()
    file = getattr(message, part)
    file.directPath, file.mediaKey, file.fileSHA256, file.fileEncSHA256 = "/v/x?", b"k", OTHER, HASH
    found = place_of(message.SerializeToString())
    assert found is not None
    assert found.info == info
    assert f"&mms-type={word}&" in found.target


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://mmg.whatsapp.net/v/x?a=b", "mmg.whatsapp.net"),
        ("https://media-fra5-1.cdn.whatsapp.net:443/v/x?a=b", "media-fra5-1.cdn.whatsapp.net"),
    ],
)
def test_a_url_counts_where_there_is_no_path(url: str, host: str) -> None:
    found = place_of(source(URL=url))
    assert found is not None
    assert (found.host, found.target) == (host, "/v/x?a=b")


@pytest.mark.parametrize(
    "url",
    [
        "",
        "http://mmg.whatsapp.net/v/x",
        "https://web.whatsapp.net/v/x",
        "https://evil.example/v/x",
        "https://evilwhatsapp.net/v/x",
        "https://whatsapp.net/v/x",
        "https://mmg.whatsapp.net.evil.example/v/x",
        "https://mmg.whatsapp.net@evil.example/v/x",
        "https://evil.example#.whatsapp.net/v/x",
        "https://evil.example\\.whatsapp.net/v/x",
        "https://user@mmg.whatsapp.net/v/x",
        "https://:secret@mmg.whatsapp.net/v/x",
        "https://mmg.whatsapp.net:8443/v/x",
        "https://mmg.whatsapp.net:x/v/x",
        "https://169.254.169.254/latest",
        "https://[::1]/v/x",
        "https://[::1/v/x",
        "https://mmg.whatsapp.net",
        "https://ex\u00e4mple.whatsapp.net/v/x",
        "file:///etc/passwd",
    ],
)
def test_no_message_names_a_host_that_is_not_whatsapps(url: str) -> None:
    assert place_of(source(URL=url)) is None


@pytest.mark.parametrize("path", ["v/x", "@evil.example/x", ".evil.example/", "https://evil.example/"])
def test_a_path_that_is_none_is_left_to_the_library(path: str) -> None:
    assert place_of(source(directPath=path)) is None


def test_a_path_names_no_header_and_no_second_request() -> None:
    found = place_of(source(directPath="/v/x y\r\nHost: evil\u00e4#part"))
    assert found is not None
    assert found.target == "/v/x%20y%0D%0AHost:%20evil%C3%A4"


def test_a_hash_that_is_none_is_left_to_the_library_which_asks_for_no_such_file() -> None:
    for wrong in (b"", b"short"):
        assert place_of(source(directPath="/v/x?", fileEncSHA256=wrong)) is None


def test_what_the_library_would_read_to_its_end_before_it_finds_it_wrong_is_not_left_to_it() -> None:
    for missing in ("mediaKey", "fileEncSHA256", "fileSHA256"):
        found = place_of(source(directPath="/v/x?", **{missing: None}))
        assert found is not None, missing
        if missing == "fileEncSHA256":
            assert (found.sealed_sha256, found.target) == (b"", "/v/x?&hash=&mms-type=document&__wa-mms=")


def test_what_names_no_file_is_left_to_the_library() -> None:
    for left in (b"", b"\xff", e2e.Message(conversation="hi").SerializeToString()):
        assert place_of(left) is None


def test_the_way_is_that_of_the_sessions_or_the_engine_goes_it() -> None:
    sandbox = SandboxTrust("http://127.0.0.1:9", "00", "/ca.pem")
    proxy = {"HTTPS_PROXY": "http://user:secret@proxy.example:3128"}
    assert route(MEDIA_HOST, sandbox, proxy) == Route("http://127.0.0.1:9", "/ca.pem"), "nothing leaves a sandbox"
    assert route(MEDIA_HOST, None, {}) == Route()
    assert route(MEDIA_HOST, None, {"https_proxy": "proxy.example:3128"}) == Route("http://proxy.example:3128")
    assert route(MEDIA_HOST, None, proxy) == Route(proxy["HTTPS_PROXY"])
    assert route(MEDIA_HOST, None, proxy | {"NO_PROXY": "whatsapp.net"}) == Route()
    assert route(MEDIA_HOST, None, proxy | {"NO_PROXY": "web.whatsapp.com"}) == Route(proxy["HTTPS_PROXY"])
    for other in ("socks5://proxy.example:1080", "https://proxy.example", "http://"):
        assert route(MEDIA_HOST, None, {"HTTPS_PROXY": other}) is None
    assert "secret" not in repr(route(MEDIA_HOST, None, proxy))
