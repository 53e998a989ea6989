"""The small parts of the engine: URLs, logs without secrets, JIDs, which failures are certain, the trust anchor."""

import socket
from pathlib import Path
from typing import cast

import pytest

from bridge.domain.profiles import SetPresence
from bridge.engine import jids, wire
from bridge.engine.errors import NameMissing
from bridge.engine.failures import is_certain
from bridge.engine.host import log, preflight
from bridge.engine.host.library import METHODS
from bridge.engine.host.trust import TrustRefused, trust_sandbox
from bridge.engine.hostlog import HostLog, Scrubber
from bridge.engine.pool import EngineConfig
from bridge.engine.profile_answers import PROFILE_ANSWERS
from bridge.engine.session import Session
from bridge.engine.urls import engine_url
from bridge.engine.wire import Call, Hello, SandboxTrust, encode, host_side
from bridge.protos import neonize_pb

SECRET = "p@ss/w:rd"


@pytest.mark.parametrize(
    ("given", "mode"),
    [
        ("postgresql://u:x@127.0.0.1:5433/db", "disable"),
        ("postgresql://u:x@db.example:5433/db", "require"),
        ("postgresql://u:x@127.0.0.1:5433/db?sslmode=verify-full", "verify-full"),
        ("host=localhost port=5433 user=u password=x dbname=db", "disable"),
        ("host='localhost' port=5433 user=u password='x' dbname=db sslmode=prefer", "disable"),
    ],
)
def test_the_engines_url_is_one_that_it_takes_for_postgres(given: str, mode: str) -> None:
    url = engine_url(given, idle_session_timeout_ms=45_000).text
    assert url.startswith("postgres://u:x@")
    assert ":5433/db?" in url
    for part in (
        f"sslmode={mode}",
        "search_path=whatsapp",
        "application_name=",
        "idle_session_timeout=45000",
        "binary_parameters=yes",
    ):
        assert part in url


def test_a_socket_folder_goes_into_the_query() -> None:
    url = engine_url("host=/run/pg user=u dbname=db", idle_session_timeout_ms=1000).text
    assert url.startswith("postgres://u@:5432/db?")
    assert "host=%2Frun%2Fpg" in url


def test_a_password_with_special_characters_survives_and_is_known_as_a_secret() -> None:
    url = engine_url(f"host=localhost user=u password={SECRET} dbname=db", idle_session_timeout_ms=1000)
    assert "p%40ss%2Fw%3Ard" in url.text
    assert {SECRET, "p%40ss%2Fw%3Ard", url.text} == set(url.secrets)


def test_no_line_of_a_host_shows_a_password(tmp_path: Path) -> None:
    scrub = Scrubber(engine_url(f"host=h user=u password={SECRET} dbname=d", idle_session_timeout_ms=1).secrets)
    host_log = HostLog(scrub, tmp_path / "host.log")
    host_log.feed(f"parse failed: {SECRET}\nurl p%40ss%2Fw%3Ard\n".encode())
    host_log.feed(b'open "postgres://u:other@h/d": no\nuser=u password=third dbname=d\nlast')
    host_log.finish()
    shown = (tmp_path / "host.log").read_text() + "".join(host_log.tail)
    assert not any(word in shown for word in (SECRET, "p%40ss", "other", "third"))
    assert "last" in shown


def test_the_configuration_does_not_show_its_password(tmp_path: Path) -> None:
    url = f"host=h user=u password={SECRET} dbname=d"
    hello = Hello(wire.VERSION, url, "", b"")
    assert SECRET not in repr((EngineConfig(url, tmp_path), hello))


def test_a_host_that_logs_for_ever_fills_no_disk(tmp_path: Path) -> None:
    host_log = HostLog(Scrubber(()), tmp_path / "host.log", file_bytes=10_000)
    for _ in range(200):
        host_log.feed(b"x" * 999 + b"\n")
    host_log.feed(b"y" * 100_000)
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) < 30_000
    assert all(len(line) <= 2000 for line in host_log.tail)


def test_the_cause_of_a_death_is_the_line_that_go_begins_with() -> None:
    host_log = HostLog(Scrubber(()), None)
    host_log.feed(b"hello\nfatal error: concurrent map writes\n\ngoroutine 7 [running]:\nmain.Stop(...)\n")
    assert host_log.cause() == "fatal error: concurrent map writes"


def test_the_librarys_log_entries_are_read_without_protobuf(capsys: pytest.CaptureFixture[str]) -> None:
    log.write(
        neonize_pb.LogEntry(Message="x\ny" * 100, Level="WARN", Name="Client/Socket").SerializeToString(), "inst_1"
    )
    log.write(b"\xff\xff\xff", "inst_1")
    first, second = capsys.readouterr().err.splitlines()
    assert first.startswith("whatsmeow WARN inst_1 Client/Socket: x\\ny")
    assert "can't be read" in second


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("Ignoring message 3A from 1@lid: failed to decrypt: old counter", "3A 1@lid 1@lid"),
        ("Ignoring message 3A from 1:2@lid in 5@g.us: failed to decrypt: old counter", "3A 1:2@lid 5@g.us"),
        ("Failed to decrypt message 3A from 1@lid: no session", None),
    ],
)
def test_the_line_about_an_ignored_message_is_understood(line: str, found: str | None) -> None:
    assert log.ignored(line) == found


@pytest.mark.parametrize(
    "text", ["491500000001@s.whatsapp.net", "491500000001:12@s.whatsapp.net", "12@lid", "1-2@g.us"]
)
def test_a_jid_survives_the_way_to_the_engine_and_back(text: str) -> None:
    assert jids.text(neonize_pb.JID.FromString(jids.parse(text)), device=True) == text


@pytest.mark.parametrize("text", ["", "491500000001", "@lid", "a@b@c", "1:x@lid", "1@LID "])
def test_what_is_no_jid_is_refused(text: str) -> None:
    with pytest.raises(jids.BadJid):
        jids.parse(text)


@pytest.mark.parametrize(
    ("error", "certain"),
    [
        ("failed to send message node: websocket not connected", True),
        ("failed to get device list: failed to send usync query: info query timed out", True),
        ("server returned error 479", True),
        ("timed out waiting for message send response", False),
        ("websocket disconnected before info query returned response", False),
        ("something that we have never seen", False),
    ],
)
def test_a_failed_send_is_certain_only_when_its_words_say_so(error: str, certain: bool) -> None:
    assert is_certain(error) is certain


def test_a_host_calls_only_what_it_is_meant_to() -> None:
    assert {"Disconnect", "Logout", "PairPhone", "IsOnWhatsApp", "SendMessage"} <= METHODS


def test_the_trust_anchor_stays_without_a_sandbox() -> None:
    with pytest.raises(TrustRefused, match="not told to use a sandbox"):
        trust_sandbox(Path("/nowhere"), None)


@pytest.mark.parametrize(
    ("sandbox", "file"),
    [
        (SandboxTrust("", "00" * 32, "/ca.pem"), "/ca.pem"),
        (SandboxTrust("http://127.0.0.1:1", "00" * 32, "/ca.pem"), "/other.pem"),
        (SandboxTrust("http://127.0.0.1:1", "00" * 32, ""), ""),
        (SandboxTrust("http://127.0.0.1:1", "00" * 31, "/ca.pem"), "/ca.pem"),
    ],
)
def test_the_trust_anchor_stays_with_half_a_sandbox(
    sandbox: SandboxTrust, file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", file)
    with pytest.raises(TrustRefused):
        trust_sandbox(Path("/nowhere"), sandbox)


def test_the_trust_anchor_stays_where_it_is_not_found_exactly_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", "/ca.pem")
    with pytest.raises(TrustRefused, match="found 0 times"):
        trust_sandbox(Path("/nowhere"), SandboxTrust("http://127.0.0.1:1", "00" * 32, "/ca.pem"))


def test_a_start_that_can_get_nowhere_is_not_tried() -> None:
    with socket.create_server(("127.0.0.1", 0)) as open_port, socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        there, away = open_port.getsockname()[1], closed.getsockname()[1]
        preflight.check(f"postgres://u@127.0.0.1:{there}/d", f"http://127.0.0.1:{there}")
        with pytest.raises(preflight.Unreachable, match="the database"):
            preflight.check(f"postgres://u@127.0.0.1:{away}/d", f"http://127.0.0.1:{there}")
        with pytest.raises(preflight.Unreachable, match="the proxy"):
            preflight.check(f"postgres://u@127.0.0.1:{there}/d", f"http://127.0.0.1:{away}")


def test_the_way_out_is_the_proxy_that_the_library_would_take() -> None:
    with socket.create_server(("127.0.0.1", 0)) as open_port:
        there = open_port.getsockname()[1]
        preflight.check(f"postgres://u@127.0.0.1:{there}/d", None, {"HTTPS_PROXY": f"http://127.0.0.1:{there}"})


@pytest.mark.parametrize(
    ("environment", "proxy"),
    [
        ({}, None),
        ({"HTTPS_PROXY": ""}, None),
        ({"https_proxy": "http://a:1"}, "http://a:1"),
        ({"HTTPS_PROXY": "a:1"}, "http://a:1"),
        ({"HTTP_PROXY": "http://a:1"}, None),
        ({"HTTPS_PROXY": "http://a:1", "NO_PROXY": "localhost, .whatsapp.com"}, None),
        ({"HTTPS_PROXY": "http://a:1", "no_proxy": "web.whatsapp.com"}, None),
        ({"HTTPS_PROXY": "http://a:1", "NO_PROXY": "*"}, None),
        ({"HTTPS_PROXY": "http://a:1", "NO_PROXY": "app.com,127.0.0.1,"}, "http://a:1"),
    ],
)
def test_a_proxy_of_the_environment_is_read_as_go_reads_it(environment: dict[str, str], proxy: str | None) -> None:
    assert preflight.way_out(environment) == proxy


def test_the_arguments_of_a_call_keep_their_types_on_the_way_to_a_host() -> None:
    call = Call(1, "key", "MarkRead", (b"\x00a", "text", True, 3, 1.5), 2.0)
    (read,) = host_side().feed(encode(call))
    assert read == call
    assert isinstance(read, Call)
    assert [type(argument) for argument in read.arguments] == [bytes, str, bool, int, float]


class Nameless:
    """A session of a number whose name the engine does not know yet: what neonize 0.5.2 says to it."""

    async def call(self, method: str, *arguments: object, timeout_s: float) -> bytes:
        assert method == "SendPresence"
        return b"can't send presence without PushName set"


async def test_a_number_without_a_name_is_told_to_take_one_before_it_shows_its_presence() -> None:
    with pytest.raises(NameMissing) as refused:
        await PROFILE_ANSWERS[SetPresence](cast("Session", Nameless()), SetPresence(True), 1)
    assert (refused.value.status, refused.value.retryable) == (409, False) and "PATCH /profile" in str(refused.value)
