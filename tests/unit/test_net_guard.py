"""The guard: what may be called, judged by form, by every address, and at the connect."""

import ipaddress
import socket
import threading

import pytest

from bridge.domain.ids import EndpointId, EventId, InstanceKey
from bridge.net import guard
from bridge.net.guard import Guard, Target, UrlRefused, is_public, parse
from bridge.store.deliveries import Destination, Pending
from bridge.webhooks.post import Poster
from tests.support.hooks import hook

PUBLIC = ["1.1.1.1", "8.8.8.8", "2606:4700:4700::1111", "::ffff:1.1.1.1"]
PRIVATE = [
    "0.0.0.0",
    "10.1.2.3",
    "100.64.0.1",
    "127.0.0.1",
    "127.255.255.254",
    "169.254.169.254",
    "172.16.0.1",
    "192.0.0.9",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.1.1",
    "198.18.0.1",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::7f00:1",
    "::ffff:127.0.0.1",
    "::ffff:169.254.169.254",
    "64:ff9b::7f00:1",
    "64:ff9b:1::1",
    "100::1",
    "2001::1",
    "2001:db8::1",
    "2002:7f00:1::1",
    "3fff::1",
    "5f00::1",
    "fc00::1",
    "fd12::1",
    "fe80::1",
    "fec0::1",
    "ff02::1",
]


@pytest.mark.parametrize("address", PUBLIC)
def test_a_public_address_may_be_called(address: str) -> None:
    assert is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize("address", PRIVATE)
def test_an_address_that_is_not_public_is_refused(address: str) -> None:
    assert not is_public(ipaddress.ip_address(address))
    host = f"[{address}]" if ":" in address else address
    with pytest.raises(UrlRefused):
        Guard().judge(f"http://{host}:8080/")


@pytest.mark.parametrize(
    "url",
    [
        "",
        "hook",
        "//example.com/",
        "ftp://example.com/",
        "file:///etc/passwd",
        "javascript:alert(1)",
        "http://",
        "http:///path",
        "http://user@example.com/",
        "http://user:secret@example.com/",
        "http://@example.com/",
        "http://example.com:0/",
        "http://example.com:65536/",
        "http://example.com:x/",
        "http://[::1/",
        "http://[::1%25eth0]/",
        "http://exa mple.com/",
        "http://example.com/\r\nX-Evil: 1",
        "http://example.com\\@evil.test/",
        "http://example.com/ü",
        "http://" + "a" * 70 + ".com/",
        "http://ü" + "ö" * 70 + ".com/",
        "http://example.com/" + "a" * 3_000,
    ],
)
def test_a_url_of_a_form_that_no_webhook_needs_is_refused(url: str) -> None:
    with pytest.raises(UrlRefused):
        Guard().judge(url)


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("https://Example.com", Target("https", "example.com", 443, "/")),
        ("http://example.com:8080/a?b=c#d", Target("http", "example.com", 8080, "/a?b=c")),
        ("https://bücher.example/x", Target("https", "xn--bcher-kva.example", 443, "/x")),
        ("https://[2606:4700:4700::1111]:8443/", Target("https", "2606:4700:4700::1111", 8443, "/")),
    ],
)
def test_a_url_is_taken_apart(url: str, target: Target) -> None:
    assert Guard().judge(url) == parse(url) == target


def test_the_host_header_names_the_port_unless_it_is_the_usual_one() -> None:
    assert parse("https://example.com/").authority == "example.com"
    assert parse("http://example.com:443/").authority == "example.com:443"
    assert parse("https://[2606:4700::1]:8443/").authority == "[2606:4700::1]:8443"


def test_what_is_allowed_by_name_and_port_may_be_private_but_nothing_else() -> None:
    allowed = Guard(["127.0.0.1:5555", "receiver:5555", "[::1]:5555"])
    allowed.judge("http://127.0.0.1:5555/")
    allowed.judge("http://[::1]:5555/")
    for url in ("http://127.0.0.1:5432/", "http://127.0.0.2:5555/"):
        with pytest.raises(UrlRefused):
            allowed.judge(url)


def test_what_is_allowed_as_a_network_may_be_private() -> None:
    allowed = Guard(["10.0.0.0/8", "fd00::/8"])
    allowed.judge("http://10.1.2.3/")
    allowed.judge("http://[::ffff:10.1.2.3]/")
    allowed.judge("http://[fd12::1]/")
    with pytest.raises(UrlRefused):
        allowed.judge("http://127.0.0.1/")


async def test_every_address_of_a_name_must_be_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = {"good.test": ["1.1.1.1", "8.8.8.8"], "rebound.test": ["1.1.1.1", "127.0.0.1"], "none.test": []}

    def lookup(host: str, port: int, **_: object) -> list[tuple[object, ...]]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in answers[host]]

    monkeypatch.setattr(guard.socket, "getaddrinfo", lookup)
    assert await Guard().addresses(parse("https://good.test/")) == ["1.1.1.1", "8.8.8.8"]
    for host in ("rebound.test", "none.test"):
        with pytest.raises(UrlRefused):
            await Guard().addresses(parse(f"https://{host}/"))
    assert await Guard(["rebound.test:443"]).addresses(parse("https://rebound.test/")) == ["1.1.1.1", "127.0.0.1"]


@pytest.mark.parametrize("host", ["localhost", "2130706433", "0x7f.1", "127.1", "0177.0.0.1"])
async def test_another_spelling_of_this_machine_is_refused_at_the_connect(host: str) -> None:
    with pytest.raises(UrlRefused):
        await Guard().addresses(parse(f"http://{host}/"))


async def test_a_name_that_does_not_resolve_is_a_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    def lookup(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "unknown")

    monkeypatch.setattr(guard.socket, "getaddrinfo", lookup)
    with pytest.raises(UrlRefused, match="does not resolve"):
        await Guard().addresses(parse("https://nowhere.test/"))


SPELLINGS = [
    "2130706433",  # decimal
    "0x7f000001",  # hexadecimal
    "017700000001",  # octal
    "0x7f.0.0.1",
    "0177.0.0.1",
    "127.1",
    "127.0.1",
    "0",
    "2852039166",  # 169.254.169.254, where clouds keep credentials
    "0xa9fea9fe",
    "0251.0376.0251.0376",
    "localhost",
    "LOCALHOST",
    "localhost.",
    "127.0.0.1.",
    "\uff11\uff12\uff17.0.0.1",  # wide digits, which IDNA makes plain
    "127\u30020\u30020\u30021",  # ideographic full stops, likewise
    "\u2460\u2461\u2466.0.0.1",  # circled digits
    "[::1]",
    "[::]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[::ffff:0:127.0.0.1]",
    "[::127.0.0.1]",
    "[64:ff9b::127.0.0.1]",
    "[64:ff9b::a9fe:a9fe]",
    "[64:ff9b:1::7f00:1]",
    "[2002:7f00:1::]",
    "[2001:0:4136:e378:8000:63bf:3fff:fdd2]",  # Teredo
    "[fe80::1]",
    "[fec0::1]",
    "[fd00:ec2::254]",  # a cloud's metadata
    "[ff02::1]",
]


@pytest.mark.parametrize("host", SPELLINGS, ids=ascii)
async def test_no_spelling_of_an_inner_address_is_admitted_or_connected_to(host: str) -> None:
    for url in (f"http://{host}/", f"https://{host}:8443/x", f"http://user@{host}/", f"http://example.com@{host}/"):
        with pytest.raises(UrlRefused):
            await Guard().admit(url)
        with pytest.raises(UrlRefused):
            await Guard().addresses(Guard().judge(url))


async def test_a_name_that_turns_inward_after_it_was_admitted_is_refused_at_the_connect(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answers = iter([["1.1.1.1"], ["1.1.1.1"], ["127.0.0.1"], ["1.1.1.1", "::ffff:10.0.0.1"]])

    def lookup(host: str, port: int, **_: object) -> list[tuple[object, ...]]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in next(answers)]

    monkeypatch.setattr(guard.socket, "getaddrinfo", lookup)
    judge = Guard()
    await judge.admit("https://rebound.test/")
    assert await judge.addresses(parse("https://rebound.test/")) == ["1.1.1.1"]
    for _ in range(2):
        with pytest.raises(UrlRefused):
            await judge.addresses(parse("https://rebound.test/"))


async def test_a_name_is_resolved_once_for_each_connect_and_the_checked_address_is_connected_to(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A second look-up could find another address than the one that was checked."""
    asked = []
    real = socket.getaddrinfo

    def lookup(host: str | bytes, port: int, *rest: object, **named: object) -> object:
        if host == "receiver.test":
            asked.append(host)
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]
        assert host in {"127.0.0.1", b"127.0.0.1"}, "only an address may be looked up besides"
        return real(host, port, *rest, **named)  # type: ignore[arg-type]

    async with hook() as receiver:
        monkeypatch.setattr(guard.socket, "getaddrinfo", lookup)
        url = receiver.url.replace("127.0.0.1", "receiver.test")
        poster = Poster(Guard(["127.0.0.0/8"]))
        to = Destination(EndpointId("whk_1"), url, (b"s" * 32,), 5.0, 60.0)
        answer = await poster.post(to, Pending(EventId("evt_1"), InstanceKey("a" * 32), 0, 0.0, None, "{}"))
        await poster.tidy(everything=True)
    assert answer.ok and asked == ["receiver.test"]


async def test_a_name_that_takes_too_long_to_resolve_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "ADMIT_S", 0.05)
    released = threading.Event()
    monkeypatch.setattr(guard.socket, "getaddrinfo", lambda *_, **__: released.wait(5))
    with pytest.raises(UrlRefused, match="did not resolve"):
        await Guard().admit("https://slow.test/")
    released.set()


async def test_what_is_allowed_by_name_need_not_resolve_yet() -> None:
    await Guard(["no-such-name.invalid:443"]).admit("https://no-such-name.invalid/")
    with pytest.raises(UrlRefused):
        await Guard(["no-such-name.invalid:443"]).admit("https://no-such-name.invalid:444/")
