"""The kinds that can be sent: both sides of the table agree, and what cannot be known is not claimed."""

from bridge.api.send_files import FILE_KINDS, FILE_SENDS
from bridge.api.sends import SENDS
from bridge.domain import groups, profiles, questions
from bridge.engine.answers import ANSWERS
from bridge.engine.compose import COMPOSERS
from bridge.instances.kinds import KINDS, composed


def test_every_call_that_sends_has_its_kind_and_every_kind_its_call() -> None:
    calls = (*SENDS, *FILE_SENDS)
    assert {send.kind for send in calls} | FILE_KINDS == set(KINDS)
    assert len({send.path for send in calls}) == len(calls)
    assert {name for name, kind in KINDS.items() if kind.deliver is None} == FILE_KINDS


def test_every_kind_is_composed_or_has_its_own_way() -> None:
    assert {name for name, kind in KINDS.items() if kind.deliver is composed} == set(COMPOSERS)


def test_every_question_is_answered() -> None:
    asked = {
        kind
        for module in (groups, profiles, questions)
        for kind in vars(module).values()
        if isinstance(kind, type) and issubclass(kind, questions.Question) and kind is not questions.Question
    }
    assert asked
    assert asked == set(ANSWERS)
