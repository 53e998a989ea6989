"""The pure parts of calling handlers: which there are, when to call again, what is said between the processes."""

from importlib.metadata import EntryPoint
from itertools import pairwise

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver import handlers
from receiver.calling import environment
from receiver.config import build
from receiver.errors import ConfigError
from receiver.event import Event
from receiver.examples import pong
from receiver.frames import MAX_FRAME_BYTES, BadFrame, Call, Done, Loaded, Reader, encode
from receiver.handlers import Handler, HandlerName, parse
from receiver.retry import DELAYS_S, Again, Park, after_failure
from tests.unit.test_receiver_config import LEAST


def test_handlers_are_named_in_a_setting_each_once() -> None:
    assert [handler.target for handler in parse("a.b:f, c:G.h,\na.b:f")] == ["a.b:f", "c:G.h"]
    assert build(LEAST | {"RECEIVER_HANDLERS": "a:b"}).handlers[0] == Handler(HandlerName("a:b"), "a:b")


@pytest.mark.parametrize("setting", ["a", "a.b", ":f", "a:", "a:b:c", "a/b:c", "-m:x", "a:b()", "a:" + "b" * 255])
def test_what_names_no_function_is_refused_at_the_start(setting: str) -> None:
    with pytest.raises(ConfigError, match=r"package\.module:function"):
        build(LEAST | {"RECEIVER_HANDLERS": setting})


def test_installed_distributions_may_bring_handlers(monkeypatch: pytest.MonkeyPatch) -> None:
    def points(*, group: str) -> list[EntryPoint]:
        assert group == "receiver.handlers"
        return [EntryPoint("crm", "theirs.crm:take", group), EntryPoint("audit", "theirs:note [extra]", group)]

    monkeypatch.setattr(handlers, "entry_points", points)
    assert handlers.find("mine:f") == (
        Handler(HandlerName("mine:f"), "mine:f"),
        Handler(HandlerName("audit"), "theirs:note"),
        Handler(HandlerName("crm"), "theirs.crm:take"),
    )


def test_a_failure_is_tried_again_later_and_later_and_then_parked() -> None:
    decisions = [after_failure(attempts, 0.5) for attempts in range(1, len(DELAYS_S) + 2)]
    assert decisions == [*(Again(delay) for delay in DELAYS_S), Park()]


@given(attempts=st.integers(1, len(DELAYS_S)), chance=st.floats(0, 1))
def test_a_delay_is_within_a_fifth(attempts: int, chance: float) -> None:
    decision = after_failure(attempts, chance)
    assert isinstance(decision, Again)
    assert 0.8 * DELAYS_S[attempts - 1] <= decision.delay_s <= 1.2 * DELAYS_S[attempts - 1] + 1e-9


def test_a_handlers_process_gets_no_setting_of_the_receiver() -> None:
    assert environment({"RECEIVER_SECRET": "x", "RECEIVER_DATABASE_URL": "y", "PATH": "z"}) == {"PATH": "z"}


@given(pieces=st.lists(st.integers(0, 400), max_size=6))
def test_frames_are_the_same_wherever_the_stream_is_cut(pieces: list[int]) -> None:
    body = msgspec.Raw(b'{"text":\n "\xc3\xbc"}')
    frames = [Loaded(), Call(1, "evt_1", 1, 7, "now", None, "t", 3, None, body), Done(1, "TypeError: no")]
    data, reader, found = b"".join(encode(frame) for frame in frames), Reader(), []
    edges = [0, *sorted(min(edge, len(data)) for edge in pieces), len(data)]
    for start, end in pairwise(edges):
        found += reader.feed(data[start:end])
    types = (Loaded, Call, Done)
    assert [msgspec.json.decode(body, type=kind) for body, kind in zip(found, types, strict=True)] == frames


def test_a_frame_that_is_too_long_is_refused_before_it_is_kept() -> None:
    with pytest.raises(BadFrame):
        Reader().feed((MAX_FRAME_BYTES + 1).to_bytes(4, "big"))


def message(text: str, *, from_me: bool = False, history: bool = False, kind: str = "message.received") -> Event:
    data = {"text": text, "is_from_me": from_me}
    return Event(
        id="evt_1", attempt=1, cursor=1, received_at="now", instance="k", type=kind, seq=1, chat="1@s.whatsapp.net",
        body={"flags": {"history": history}, "data": data},
    )  # fmt: skip


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        (message("ping"), True),
        (message(" Ping\n"), True),
        (message("pingpong"), False),
        (message("ping", from_me=True), False),
        (message("ping", history=True), False),
        (message("ping", kind="message.sent"), False),
    ],
)
def test_the_example_answers_pings_of_others_only(event: Event, expected: bool) -> None:
    assert pong.is_ping(event) == expected
