"""The library's warnings in our own log: whose they are, without data, and never a flood."""

import pytest
from structlog.testing import capture_logs

from bridge.engine.hostlog import HostLog, Scrubber
from bridge.engine.librarylog import LINES_PER_HOST, LINES_PER_INSTANCE, WINDOW_S, LibraryLog, mask


class Clock:
    """A clock that is set by hand."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def tell(library: LibraryLog, *lines: str) -> list[dict[str, object]]:
    with capture_logs() as told:
        for line in lines:
            library.take(line)
    return [dict(one) for one in told]


def test_a_warning_of_the_library_is_an_event_with_host_and_instance() -> None:
    host_log = HostLog(Scrubber(["secret"]), None, on_line=LibraryLog("host 1").take)
    with capture_logs() as told:
        host_log.feed(b"whatsmeow WARN inst_1 Client/Socket: Failed to send keepalive: websocket not ")
        host_log.feed(b"connected\nwhatsmeow ERROR inst_2 : no route to secret\n")
    first = {"part": "Client/Socket", "text": "Failed to send keepalive: websocket not connected"}
    assert told == [
        {"event": "engine.library", "host": "host 1", "instance": "inst_1", "log_level": "warning", **first},
        {
            "event": "engine.library",
            "host": "host 1",
            "instance": "inst_2",
            "log_level": "error",
            "part": "",
            "text": "no route to ***",
        },
    ]
    assert len(host_log.tail) == 2


@pytest.mark.parametrize(
    "line", ["panic: runtime error", "whatsmeow INFO inst_1 Client: hello", "whatsmeow", "", "goroutine 7 [running]:"]
)
def test_what_is_no_warning_of_the_library_is_left_to_the_file(line: str) -> None:
    assert tell(LibraryLog("host 1"), line) == []


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        (
            'Closing handler queue loop in the middle of handling <message from="491593452960@s.whatsapp.net"><enc/>',
            "Closing handler queue loop in the middle of handling …",
        ),
        (
            "Failed to send receipt for 3A52996D537B71F9EB57: websocket not",
            "Failed to send receipt for … websocket not",
        ),
        ("Failed to send receipt for 3EB0ABCD12EF34AB now", "Failed to send receipt for … now"),
        ("Failed to do initial fetch of app state critical_unblock_low: x", None),
        ('got conversation:"see \\"you\\" at ten" from 1:2@lid', "got conversation:… from …"),
        ('got conversation:"cut in the midd', "got conversation:…"),
        ("bad body {Conversation:see you at ten}", "bad body …"),
        ("bad key [12 7 255 3]", "bad key …"),
        ("bad key q83vASNFZ4mrze8BI0VniavN7wEjRWeJq83vASNFZ4k=", "bad key …"),
        ("bad key abcdefghijklmnopqrstuvwxyzabcdefghijklmn", "bad key …"),
        ("no name for 4915100000001", "no name for …"),
        ("x " * 500, "x " * 100),
    ],
)
def test_nothing_of_anybodys_data_is_told(text: str, masked: str | None) -> None:
    assert mask(text) == (masked if masked is not None else text)


def test_the_same_line_is_told_once_in_a_window_and_counted_on_the_next() -> None:
    clock = Clock()
    library = LibraryLog("host 1", clock)
    flapping = [f"whatsmeow WARN inst_1 Client: Failed to send receipt for 3A{n:018}: gone" for n in range(1000)]
    assert [one.get("left_out") for one in tell(library, *flapping)] == [None]
    clock.now = WINDOW_S - 0.1
    assert tell(library, flapping[0]) == []
    assert [one["left_out"] for one in tell(library, "whatsmeow ERROR inst_1 Client: other")] == [1000]
    clock.now = WINDOW_S
    assert [one.get("left_out") for one in tell(library, flapping[0])] == [None]


def test_no_instance_and_no_host_floods() -> None:
    clock = Clock()
    library = LibraryLog("host 1", clock)
    words = ["".join(chr(97 + int(digit)) for digit in str(number)) for number in range(100)]
    one = [f"whatsmeow WARN inst_1 Client: {word}" for word in words]
    assert len(tell(library, *one)) == LINES_PER_INSTANCE
    assert len(tell(library, "whatsmeow WARN inst_2 Client: a")) == 1
    others = [f"whatsmeow WARN other_{number} Client: a" for number in range(100)]
    assert len(tell(library, *others)) == LINES_PER_HOST - LINES_PER_INSTANCE - 1
    clock.now = WINDOW_S
    assert [one["left_out"] for one in tell(library, one[0])] == [100 - LINES_PER_INSTANCE]
