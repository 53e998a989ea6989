"""Connected but deaf: when WhatsApp is asked whether it still hears us, and what comes of its silence."""

from collections.abc import Callable
from dataclasses import dataclass, field

import trio
import trio.testing

from bridge.domain.signals import SelfCheckFailed, SelfCheckPassed, Signal
from bridge.engine.codes import Code
from bridge.engine.errors import EngineDown, EngineRefused, OutcomeUnknown
from bridge.engine.journal import Record
from bridge.instances.pulse import Pulse
from bridge.protos import neonize_pb

EVERY_S = 100.0


@dataclass
class Line:
    """A session that answers, or does not, and remembers when it was asked."""

    key: str = "k"
    error: Exception | None = None
    text: str = ""
    asked_at: list[float] = field(default_factory=list)

    async def call(self, method: str, *, timeout_s: float) -> bytes:
        assert method == "GetBlocklist"
        self.asked_at.append(trio.current_time())
        if isinstance(self.error, OutcomeUnknown):
            await trio.sleep(timeout_s)
        if self.error is not None:
            raise self.error
        return bytes(neonize_pb.GetBlocklistReturnFunction(Error=self.text).SerializeToString())


async def told(
    pulse: Pulse, line: Line | None, for_s: float, meanwhile: Callable[[], None] = lambda: None
) -> list[Signal]:
    """Return what the pulse says in that time; `meanwhile` happens after each second."""
    said: list[Signal] = []
    with trio.move_on_after(for_s + 0.5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(pulse.run, lambda: line, said.append)
            for _ in range(int(for_s) + 1):
                await trio.sleep(1)
                meanwhile()
    return said


async def test_whatsapp_is_asked_after_a_silence_and_not_before(autojump_clock: trio.testing.MockClock) -> None:
    line, pulse = Line(), Pulse(EVERY_S)
    assert await told(pulse, line, EVERY_S - 1) == []
    assert line.asked_at == []
    assert await told(pulse, line, EVERY_S) == [SelfCheckPassed()]
    assert pulse.age_s is not None
    assert pulse.age_s < EVERY_S


async def test_an_instance_that_hears_something_is_never_asked(autojump_clock: trio.testing.MockClock) -> None:
    line, pulse = Line(), Pulse(EVERY_S)
    record = Record(1, 0.0, Code.RECEIPT, b"")
    assert await told(pulse, line, 5 * EVERY_S, lambda: pulse.took([record])) == []
    assert line.asked_at == []


async def test_what_the_library_says_about_itself_is_no_sign_of_life(autojump_clock: trio.testing.MockClock) -> None:
    pulse = Pulse(EVERY_S)
    for code in (Code.DISCONNECTED, Code.KEEPALIVE_TIMEOUT, Code.IGNORED, Code.ENDED, Code.QR):
        pulse.took([Record(1, 0.0, code, b"")])
    pulse.took([Record(1, 0.0, Code.MESSAGE, b"", replayed=True)])
    assert pulse.age_s is None
    pulse.took([Record(2, 0.0, Code.DISCONNECTED, b""), Record(3, 0.0, Code.MESSAGE, b"")])
    assert pulse.age_s == 0


async def test_silence_is_told_again_and_again_until_there_is_an_answer(autojump_clock: trio.testing.MockClock) -> None:
    line, pulse = Line(error=OutcomeUnknown()), Pulse(EVERY_S)
    said = await told(pulse, line, EVERY_S + 45)
    assert said == [SelfCheckFailed(), SelfCheckFailed()]
    assert [at - line.asked_at[0] for at in line.asked_at] == [0, 25]  # 15 s without an answer, 10 s of waiting
    line.error = None
    assert (await told(pulse, line, EVERY_S))[-1] == SelfCheckPassed()


async def test_a_host_that_cannot_ask_says_nothing_about_whatsapp(autojump_clock: trio.testing.MockClock) -> None:
    for error in (EngineDown(), EngineRefused()):
        assert await told(Pulse(EVERY_S), Line(error=error), 3 * EVERY_S) == []
    assert await told(Pulse(EVERY_S), Line(text="websocket not connected"), 3 * EVERY_S) == []
    assert await told(Pulse(EVERY_S), None, 3 * EVERY_S) == []


async def test_a_refusal_is_an_answer(autojump_clock: trio.testing.MockClock) -> None:
    line = Line(text="info query returned status 429: rate-overlimit")
    assert SelfCheckFailed() not in (said := await told(Pulse(EVERY_S), line, 2 * EVERY_S))
    assert SelfCheckPassed() in said


async def test_it_can_be_switched_off(autojump_clock: trio.testing.MockClock) -> None:
    line = Line()
    assert await told(Pulse(0), line, 5 * EVERY_S) == []
    assert line.asked_at == []
