"""What the tests of the sandbox's faults share: counts, calls in the background, and whether a client is whole."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.support.conformance import Client, Contact, Stage


def struck(stage: Stage, number: int) -> int:
    """Return how often a fault has struck."""
    listed = stage.sandbox.get("/faults")
    return next(entry["struck"] for entry in [*listed["active"], *listed["over"]] if entry["number"] == number)


@contextmanager
def in_background(client: Client, method: str, *arguments: Any) -> Iterator[list[Any]]:
    """Make a call that takes its time; what it returns is put into the list."""
    answer: list[Any] = []
    thread = threading.Thread(target=lambda: answer.append(client.call(method, *arguments, timeout_s=60)))
    thread.start()
    yield answer
    thread.join(60)


def is_whole(client: Client, contact: Contact) -> None:
    """Check that texts pass in both directions, each once."""
    sent = contact.send(client.phone, text="still there?")
    client.message(sent)
    answer = client.send(contact.phone, "yes")
    assert contact.got(answer)["text"] == "yes"
    seen = [e for e in client.worker.events if e["event"] == "Message" and e["data"]["Info"]["ID"] == sent]
    assert len(seen) == 1


def failure(client: Client, method: str, *arguments: Any) -> str:
    """Return the error of a call that has to fail."""
    with pytest.raises(RuntimeError) as error:
        client.call(method, *arguments)
    return str(error.value)
