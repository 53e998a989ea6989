"""What users get for testing their bots: the example of the docs, as it stands there, and what it imports."""

import re
import time
import types
from pathlib import Path

import pytest

from bridge.sandbox.testing import Bridge, Failed, Number, running_sandbox, whatsapp

__all__ = ["whatsapp"]

pytestmark = pytest.mark.engine
DOCS = Path(__file__).parents[2] / "docs" / "sandbox.md"


def answer(event: dict[str, object], whatsapp: Bridge, instance_key: str) -> None:
    """Answer a question, as somebody's bot would: through the bridge's API and nothing else."""
    data = event["data"]
    assert isinstance(data, dict)
    numbers = [int(word) for word in re.findall(r"\d+", data["text"])]
    text = str(numbers[0] * numbers[1])
    whatsapp.call("POST", "/message/send", instance_key=instance_key, phone=data["sender"]["phone"], message=text)


def test_the_example_of_the_docs_tests_a_bot(whatsapp: Bridge) -> None:
    (example,) = re.findall(r"^```python\n(from bridge\.sandbox\.testing.*?)^```$", DOCS.read_text(), re.M | re.S)
    assert len([line for line in example.splitlines() if line.strip()]) <= 10
    bot = types.SimpleNamespace(answer=answer)
    space: dict[str, object] = {"my_bot": bot}
    exec(example, space)
    test = space["test_my_bot_answers"]
    assert callable(test)
    test(whatsapp)
    bot.answer = lambda *_: None  # a bot that says nothing must fail it
    with pytest.raises(Failed):
        test(ImpatientBridge(whatsapp))


class ImpatientBridge:
    """A bridge whose contacts do not wait long."""

    def __init__(self, bridge: Bridge) -> None:
        self._bridge = bridge

    def __getattr__(self, name: str) -> object:
        return getattr(self._bridge, name)

    def contact(self, name: str | None = None) -> object:
        made = self._bridge.contact(name)
        wait = made.wait_for_message
        return types.SimpleNamespace(send=made.send, wait_for_message=lambda: wait(1))


def test_a_bridge_shows_its_codes_to_the_sandbox_whose_page_scans_them(whatsapp: Bridge) -> None:
    key = whatsapp.call("POST", "/instance/create")["instance_key"]
    whatsapp.call("POST", "/instance/connect", instance_key=key)
    deadline = time.monotonic() + 30
    while not (codes := [c for c in whatsapp.sandbox.call("GET", "/codes")["waiting"] if c["name"] == key]):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    number = Number(key, whatsapp.contact().phone)
    whatsapp.sandbox.scan(number.phone, codes[0]["qr"])
    whatsapp.wait_until_online(number)
    assert whatsapp.sandbox.call("GET", "/codes")["waiting"] == []


def test_faults_and_contacts_of_a_sandbox_alone() -> None:
    with running_sandbox() as sandbox:
        ann, bob = sandbox.contact("Ann"), sandbox.contact("Bob")
        ann.send(bob, "hello")
        ann.send(bob.phone, "again")
        assert [bob.wait_for_message().text, bob.wait_for_message().text] == ["hello", "again"]
        assert sandbox.fault("cut") == 0
        with pytest.raises(Failed, match="earthquake"):
            sandbox.fault("earthquake")
        with pytest.raises(Failed, match="no message"):
            ann.wait_for_message(1)
