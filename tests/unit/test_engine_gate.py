"""The gate of an engine host: starts and stops alone, and never beside a young call."""

import threading
import time

import pytest

from bridge.engine.host.gate import Gate, HeldBack

SOON_S = 5.0


def started(work: object) -> threading.Thread:
    thread = threading.Thread(target=work, daemon=True)  # type: ignore[arg-type]
    thread.start()
    return thread


def test_a_start_waits_until_no_call_is_young() -> None:
    gate = Gate(settle_s=0.1)
    inside, leave = threading.Event(), threading.Event()

    def call() -> None:
        with gate.call(time.monotonic() + SOON_S):
            inside.set()
            leave.wait(SOON_S)

    thread = started(call)
    assert inside.wait(SOON_S)
    began = time.monotonic()
    with gate.change():
        assert time.monotonic() - began > 0.05, "the call was still in its first moments"
        assert thread.is_alive(), "an old call does not hold a start up"
    leave.set()
    thread.join(SOON_S)


def test_a_call_that_returned_holds_nothing_up() -> None:
    gate = Gate(settle_s=60)
    with gate.call(time.monotonic() + SOON_S):
        pass
    began = time.monotonic()
    with gate.change():
        assert time.monotonic() - began < SOON_S


def test_calls_are_held_back_while_a_start_is_under_way() -> None:
    gate = Gate(settle_s=0)
    entered = threading.Event()

    def call() -> None:
        with gate.call(time.monotonic() + SOON_S):
            entered.set()

    with gate.change():
        thread = started(call)
        assert not entered.wait(0.1)
    assert entered.wait(SOON_S)
    thread.join(SOON_S)


def test_a_waiting_start_goes_before_new_calls() -> None:
    gate = Gate(settle_s=0.3)
    order: list[str] = []
    in_old, leave_old, waiting = threading.Event(), threading.Event(), threading.Event()

    def old() -> None:
        with gate.call(time.monotonic() + SOON_S):
            in_old.set()
            leave_old.wait(SOON_S)

    def start() -> None:
        waiting.set()
        with gate.change():
            order.append("start")

    def new() -> None:
        with gate.call(time.monotonic() + SOON_S):
            order.append("call")

    threads = [started(old)]
    assert in_old.wait(SOON_S)
    threads.append(started(start))
    assert waiting.wait(SOON_S)
    while not (gate._writing or gate._writers_waiting):
        time.sleep(0.001)
    threads.append(started(new))
    leave_old.set()
    for thread in threads:
        thread.join(SOON_S)
    assert order == ["start", "call"]


def test_there_is_one_start_at_a_time() -> None:
    gate = Gate(settle_s=0)
    inside = 0
    most = 0

    def start() -> None:
        nonlocal inside, most
        for _ in range(20):
            with gate.change():
                inside += 1
                most = max(most, inside)
                time.sleep(0)
                inside -= 1

    threads = [started(start) for _ in range(5)]
    for thread in threads:
        thread.join(SOON_S)
    assert most == 1


def test_a_call_gives_up_at_its_deadline() -> None:
    gate = Gate()
    with gate.change(), pytest.raises(HeldBack), gate.call(time.monotonic() + 0.05):
        pass
    with gate.call(time.monotonic() + SOON_S):
        pass


def test_a_failed_start_opens_the_gate_again() -> None:
    gate = Gate()
    with pytest.raises(RuntimeError), gate.change():
        raise RuntimeError
    with gate.call(time.monotonic() + SOON_S):
        pass
