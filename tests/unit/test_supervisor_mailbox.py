"""The mailbox and the actor: bounds, deadlines, crashes, restarts, draining, and callers that go away."""

from functools import partial

import pytest
import trio
from supervisor_puppets import reached, running

from supervisor import (
    Actor,
    ActorDown,
    ChildSpec,
    DeadlineExceeded,
    Failed,
    Intensity,
    Letter,
    Mailbox,
    MailboxFull,
    Shutdown,
    State,
    Supervisor,
)


class Clerk(Actor[str]):
    """Writes down what it is told; some words do more."""

    def __init__(self, capacity: int = 10) -> None:
        super().__init__(capacity=capacity)
        self.lives = 0
        self.all_handled: list[str] = []
        self.goodbyes = 0

    async def on_start(self) -> None:
        self.lives += 1
        self.handled: list[str] = []

    async def on_stop(self) -> None:
        self.goodbyes += 1

    async def handle(self, message: str) -> object:
        match message.split():
            case ["sleep", seconds]:
                await trio.sleep(float(seconds))
            case ["crash"]:
                raise ValueError("boom")
            case ["shutdown"]:
                raise Shutdown
            case ["refuse"]:
                return Failed(LookupError("not here"))
            case ["background", "crash"]:
                self.nursery.start_soon(self._crash)
        self.handled.append(message)
        self.all_handled.append(message)
        return len(self.handled)

    async def _crash(self) -> None:
        raise OSError("behind the scenes")


def employed(clerk, **fields):
    return Supervisor("office", [ChildSpec("clerk", clerk.run, **fields)])


async def test_ask_returns_the_answer_and_messages_are_handled_in_order(autojump_clock):
    async with running(employed(clerk := Clerk())):
        clerk.tell("a")
        clerk.tell("sleep 1")
        assert await clerk.ask("b", 5) == 3
        assert clerk.handled == ["a", "sleep 1", "b"]


async def test_a_full_mailbox_refuses_at_once_and_takes_again_when_there_is_room(autojump_clock):
    async with running(employed(clerk := Clerk(capacity=2))):
        clerk.tell("sleep 5")
        await trio.sleep(1)
        clerk.tell("a")
        clerk.tell("b")
        assert clerk.depth == 2
        with pytest.raises(MailboxFull):
            clerk.tell("c")
        with pytest.raises(MailboxFull):
            await clerk.ask("c", 60)
        assert trio.current_time() == 1
        await trio.sleep(5)
        assert clerk.depth == 0
        clerk.tell("d")


async def test_an_asker_that_is_too_late_is_told_and_the_actor_goes_on(autojump_clock):
    async with running(employed(clerk := Clerk())):
        with pytest.raises(DeadlineExceeded) as caught:
            await clerk.ask("sleep 10", 2)
        assert trio.current_time() == 2
        assert caught.value.certain is False
        assert await clerk.ask("b", 60) == 2
        assert clerk.lives == 1


async def test_the_deadline_covers_the_wait_in_the_queue(autojump_clock):
    async with running(employed(clerk := Clerk())):
        clerk.tell("sleep 10")
        with pytest.raises(DeadlineExceeded):
            await clerk.ask("a", 4)
        assert trio.current_time() == 4


async def test_a_cancelled_asker_changes_nothing_for_the_actor(autojump_clock):
    async with running(employed(clerk := Clerk())):
        for wait_s in (1, 0):
            with trio.move_on_after(wait_s):
                await clerk.ask("sleep 3", 60)
        await trio.sleep(10)
        assert clerk.handled == ["sleep 3", "sleep 3"]
        assert await clerk.ask("b", 1) == 3
        assert clerk.lives == 1


async def test_failed_reaches_the_asker_and_does_not_crash_the_actor(autojump_clock):
    async with running(employed(clerk := Clerk())):
        with pytest.raises(LookupError, match="not here"):
            await clerk.ask("refuse", 1)
        clerk.tell("refuse")
        assert await clerk.ask("a", 1) == 1
        assert clerk.lives == 1


async def test_a_crash_fails_all_who_wait_and_says_whose_message_was_touched(autojump_clock):
    certain = {}

    async def ask(message):
        with pytest.raises(ActorDown) as caught:
            await clerk.ask(message, 60)
        certain[message] = caught.value.certain

    async with running(tree := employed(clerk := Clerk())):
        clerk.tell("sleep 1")
        async with trio.open_nursery() as nursery:
            for message in ("crash", "a"):
                nursery.start_soon(ask, message)
                await trio.sleep(0.1)
        assert certain == {"crash": False, "a": True}
        assert trio.current_time() == 1
        await reached(tree, "clerk", State.RUNNING, restarts=1)
        assert clerk.handled == []
        assert await clerk.ask("b", 1) == 1
        assert "a" not in clerk.all_handled


async def test_between_a_crash_and_the_restart_nobody_is_there(autojump_clock):
    async with running(tree := employed(clerk := Clerk())):
        clerk.tell("crash")
        await reached(tree, "clerk", State.BACKOFF)
        with pytest.raises(ActorDown) as caught:
            clerk.tell("a")
        assert caught.value.certain
        with pytest.raises(ActorDown):
            await clerk.ask("a", 1)
        with pytest.raises(ActorDown):
            clerk.nursery  # noqa: B018


async def test_a_crash_in_the_actors_nursery_is_the_actors(autojump_clock):
    async with running(tree := employed(clerk := Clerk())):
        clerk.tell("background crash")
        await reached(tree, "clerk", State.RUNNING, restarts=1)
        assert tree.child("clerk").last_error == "OSError: behind the scenes"


async def test_an_actor_that_raises_shutdown_is_no_crash(autojump_clock):
    async with running(tree := employed(clerk := Clerk())):
        clerk.tell("shutdown")
        await reached(tree, "clerk", State.RUNNING, restarts=1)
        assert tree.child("clerk").last_error is None


async def test_a_stop_handles_what_is_queued_takes_no_more_and_says_goodbye(autojump_clock):
    answers = []

    async def ask(message):
        answers.append(await clerk.ask(message, 60))

    async with running(tree := employed(clerk := Clerk())):
        async with trio.open_nursery() as nursery:
            for message in ("sleep 1", "a"):
                nursery.start_soon(ask, message)
                await trio.sleep(0.1)
            nursery.start_soon(tree.stop_child, "clerk")
            await trio.sleep(0.1)
            with pytest.raises(ActorDown):
                clerk.tell("too late")
        assert answers == [1, 2]
        assert clerk.goodbyes == 1


async def test_what_runs_in_the_actors_nursery_ends_with_a_stop_after_the_goodbye(autojump_clock):
    class Busy(Clerk):
        async def on_start(self) -> None:
            await super().on_start()
            self.nursery.start_soon(trio.sleep_forever)

    async with running(employed(clerk := Busy(), shutdown_s=5)):
        pass
    assert clerk.goodbyes == 1
    assert trio.current_time() == 0


async def test_a_drain_that_exceeds_the_grace_fails_who_still_waits(autojump_clock):
    async def ask(message):
        with pytest.raises(ActorDown):
            await clerk.ask(message, 60)

    async with running(tree := employed(clerk := Clerk(), shutdown_s=2)):
        async with trio.open_nursery() as nursery:
            for message in ("sleep 20", "a"):
                nursery.start_soon(ask, message)
                await trio.sleep(0.5)
            await tree.stop_child("clerk")
        assert trio.current_time() == 3
        assert clerk.goodbyes == 0


async def test_an_answer_may_be_given_later_from_a_task_of_the_actor(autojump_clock):
    class Later(Clerk):
        async def receive(self, letter: Letter[str]) -> None:
            self.nursery.start_soon(self._answer, letter)

        async def _answer(self, letter: Letter[str]) -> None:
            if letter.message == "crash":
                raise ValueError("boom")
            await trio.sleep(float(letter.message))
            letter.reply(letter.message)

    answers = []

    async def ask(message):
        answers.append(await clerk.ask(message, 60))

    async with running(employed(clerk := Later())):
        async with trio.open_nursery() as nursery:
            for message in ("3", "1", "2"):
                nursery.start_soon(ask, message)
        assert answers == ["1", "2", "3"]
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def _open_question():
                with pytest.raises(ActorDown):
                    await clerk.ask("50", 60)

            await trio.sleep(1)
            clerk.tell("crash")


async def test_an_actor_that_is_poisoned_again_and_again_ends_its_supervisor(autojump_clock):
    clerk = Clerk()
    office = Supervisor("office", [ChildSpec("clerk", clerk.run)], intensity=Intensity(1, 60))
    stop = trio.Event()
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def _poison():
            for restarts in range(2):
                await reached(office, "clerk", State.RUNNING, restarts=restarts)
                clerk.tell("crash")

        with pytest.raises(Exception, match="restart intensity"):
            await office.run(stop=stop)


async def test_one_actor_object_runs_once_at_a_time(autojump_clock):
    async with running(employed(clerk := Clerk())):
        with pytest.raises(RuntimeError, match="already running"):
            await clerk.run(stop=trio.Event())
        assert await clerk.ask("a", 1) == 1


async def test_an_actor_works_without_a_supervisor(autojump_clock):
    clerk, stop = Clerk(), trio.Event()
    async with trio.open_nursery() as nursery:
        await nursery.start(partial(clerk.run, stop=stop))
        assert await clerk.ask("a", 1) == 1
        stop.set()


async def test_a_mailbox_hands_over_in_order_and_ends_when_closed_and_empty():
    mailbox = Mailbox[int](3)
    for number in range(3):
        mailbox.tell(number)
    assert (mailbox.depth, mailbox.capacity) == (3, 3)
    mailbox.close()
    with pytest.raises(ActorDown):
        mailbox.tell(3)
    assert [(await mailbox.receive()).message for _ in range(3)] == [0, 1, 2]
    with pytest.raises(trio.EndOfChannel):
        await mailbox.receive()


async def test_a_receiver_that_waits_is_woken_by_a_message_and_by_the_end(autojump_clock):
    mailbox, got = Mailbox[str](1), []

    async def receive():
        with pytest.raises(trio.EndOfChannel):
            while True:
                got.append((await mailbox.receive()).message)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(receive)
        for message in ("a", "b"):
            await trio.sleep(1)
            mailbox.tell(message)
        await trio.sleep(1)
        mailbox.close()
    assert got == ["a", "b"]


async def test_an_answer_given_in_the_moment_the_deadline_passes_is_not_thrown_away(autojump_clock):
    letter = Letter("question", asked=True)
    with trio.CancelScope() as scope:
        scope.cancel()
        letter.reply("just in time")
        with trio.CancelScope(shield=True):
            assert await letter.wait(0) == "just in time"


async def test_answers_to_letters_nobody_waits_for_are_dropped(autojump_clock):
    mailbox = Mailbox[str](2)
    mailbox.tell("told")
    letter = await mailbox.receive()
    assert not letter.awaited
    letter.reply(1)
    letter.fail(ValueError())
    with pytest.raises(ValueError, match="nobody answers"):
        await letter.wait(1)
    with pytest.raises(DeadlineExceeded):
        await mailbox.ask("asked", 1)
    letter = await mailbox.receive()
    assert not letter.awaited
    letter.reply(1)


async def test_a_failed_mailbox_gives_nothing_more_to_its_receiver():
    mailbox = Mailbox[str](2)
    mailbox.tell("a")
    mailbox.fail()
    assert mailbox.depth == 0
    with pytest.raises(trio.EndOfChannel):
        await mailbox.receive()


def test_a_mailbox_without_room_is_refused():
    with pytest.raises(ValueError, match="at least one"):
        Mailbox[int](0)
