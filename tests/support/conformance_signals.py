"""What the bridge would make of what a real client reported: its own translation, on the client's own bytes."""

import base64

from bridge.domain.session import Decision, Session, State, decide
from bridge.domain.signals import Signal
from bridge.engine.codes import Code
from bridge.engine.journal import Record
from bridge.engine.translate import Context, translate
from tests.support.conformance import Client, Event

_CODES = {code.name.replace("_", "").lower(): code for code in Code} | {"undecryptablemessage": Code.UNDECRYPTABLE}


def signals(client: Client, since: int = 0) -> list[Signal]:
    """Return the signals of what a client has reported behind a place, in order."""
    return [signal for event in client.worker.events[since:] if event["client"] == client.name for signal in of(event)]


def of(event: Event) -> list[Signal]:
    """Return the signals of one event."""
    code = _CODES.get(event["event"].lower())
    if code is None or "b64" not in event:
        return []
    record = Record(1, event.get("at", 0.0), code, base64.b64decode(event["b64"]))
    return [output for output in translate(record, Context()) if isinstance(output, Signal)]


def state_after(heard: list[Signal]) -> Session:
    """Return the session of an instance that was online and hears these signals."""
    session = Session(State.ONLINE, paired=True, wanted=True)
    for signal in heard:
        decision: Decision = decide(session, signal)
        session = decision.session
    return session
