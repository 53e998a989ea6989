"""The server's side of the sandbox without sockets: state, pending lists, oracle, phones, faults, control API."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio
from trio.testing import memory_stream_pair

from bridge.protos import e2e
from bridge.sandbox.accounts import Account, Accounts, Device, SignedPrekey, UnknownPhone
from bridge.sandbox.appstate import PUSH_NAME_COLLECTION
from bridge.sandbox.control import Control
from bridge.sandbox.faults import BadFault, Request, UnknownFault
from bridge.sandbox.http import Request as HttpRequest
from bridge.sandbox.http import Response, json_response, serve
from bridge.sandbox.nodes import Jid, Node, decode
from bridge.sandbox.oracle import Oracle
from bridge.sandbox.queries import answer
from bridge.sandbox.signal import DeviceKeys, SignalDevice
from bridge.sandbox.state import State, StateTooNew
from bridge.sandbox.world import World

A, ADA, BOB = "4918100000001", "4915700000001", "4915700000002"


class Client:
    """A linked device without a connection: its keys, and the stanzas that were posted to it."""

    def __init__(self, world: World, account: Account, *, online: bool = True) -> None:
        keys = DeviceKeys(one_time_keys=3)
        signed = SignedPrekey(keys.signed_id.to_bytes(3, "big"), keys.signed.public, keys.signature)
        number = account.next_device
        account.next_device += 1
        registration = keys.registration_id.to_bytes(4, "big")
        self.device = Device(account, number, keys.identity.public, registration, signed, b"noise")
        world.accounts.add_device(self.device)
        prekeys = [(key_id.to_bytes(3, "big"), pair.public) for key_id, pair in keys.one_time.items()]
        world.accounts.add_prekeys(self.device, prekeys)
        self.signal = SignalDevice(keys)
        self.stanzas: list[Node] = []
        self.device.link = self if online else None

    def post(self, stanza: bytes) -> None:
        self.stanzas.append(decode(stanza))

    def text(self, node: Node) -> str:
        enc = node.child("enc")
        assert enc is not None
        kind = "pkmsg" if enc.text("type") == "pkmsg" else "msg"
        message = e2e.Message.FromString(self.signal.decrypt(node.text("from"), kind, enc.data()))
        return str(message.conversation or message.deviceSentMessage.message.conversation)


@pytest.fixture
def state(tmp_path: Path) -> Iterator[State]:
    state = State(tmp_path / "sandbox.db")
    yield state
    state.close()


@pytest.fixture
def world(state: State) -> World:
    world = World.load(state)
    for phone in (A, ADA, BOB):
        world.phones.create(phone, None)
    return world


def _receipt(message_id: str, to: str, kind: str = "") -> Node:
    return Node("receipt", {"id": message_id, "to": Jid.parse(to), "type": kind})


def _rows_on_disk(path: Path) -> int:
    other = State(path)
    try:
        return len(other.rows("SELECT 1 FROM meta"))
    finally:
        other.close()


async def test_those_who_wait_together_share_one_commit(state: State, tmp_path: Path) -> None:
    async with trio.open_nursery() as nursery:
        await nursery.start(state.commit_always)

        async def write(name: str) -> None:
            state.put(name, b"x")
            await state.settled()

        async with trio.open_nursery() as writers:
            for index in range(20):
                writers.start_soon(write, str(index))
        assert _rows_on_disk(tmp_path / "sandbox.db") == 20
        assert state.commits == 1
        nursery.cancel_scope.cancel()


def test_nothing_is_on_disk_before_it_is_committed(state: State, tmp_path: Path) -> None:
    state.put("name", b"x")
    assert _rows_on_disk(tmp_path / "sandbox.db") == 0
    state.commit()
    assert _rows_on_disk(tmp_path / "sandbox.db") == 1


def test_data_of_another_version_are_refused(tmp_path: Path) -> None:
    state = State(tmp_path / "sandbox.db")
    state._db.execute("PRAGMA user_version=99")
    state.close()
    with pytest.raises(StateTooNew):
        State(tmp_path / "sandbox.db")


def test_a_text_waits_for_its_device_until_that_acknowledges_it(world: World) -> None:
    client = Client(world, world.accounts.by_phone(A), online=False)
    message_id = world.phones.send(world.phones.find(ADA), A, "hello")
    ((_, waiting),) = world.relay.pending(client.device)
    assert client.text(waiting) == "hello"
    world.relay.receipt(client.device, _receipt(message_id, waiting.text("from"), "inactive"))
    assert world.relay.count_pending(client.device) == 0
    (known,) = world.oracle.after(0, 10)
    assert (known.text, [copy.device for copy in known.acknowledged]) == ("hello", [client.device.name])


def test_everything_is_there_again_after_a_restart(world: World, state: State, tmp_path: Path) -> None:
    client = Client(world, world.accounts.by_phone(A), online=False)
    world.phones.send(world.phones.find(ADA), A, "before")
    state.close()
    again = State(tmp_path / "sandbox.db")
    restored = World.load(again)
    device = restored.accounts.device(client.device.lid)
    assert device is not None
    assert (device.noise, restored.accounts.count_prekeys(device)) == (b"noise", 2)
    restored.phones.send(restored.phones.find(ADA), A, "after")
    texts = [client.text(node) for _, node in restored.relay.pending(device)]
    assert texts == ["before", "after"]  # the second one can be read: the phone went on in the same session
    again.close()


def test_a_message_that_a_client_sends_twice_is_relayed_once(world: World) -> None:
    sender, receiver = (Client(world, world.accounts.by_phone(phone)) for phone in (A, ADA))
    entry = Node("to", {"jid": receiver.device.lid}, [Node("enc", {"v": "2", "type": "msg"}, b"x")])
    attrs = {"id": "3EB0", "type": "text", "to": receiver.device.account.lid}
    for _ in range(2):
        world.relay.message(sender.device, Node("message", attrs, [Node("participants", {}, [entry])]))
    assert [node.text("id") for node in receiver.stanzas] == ["3EB0"]


def test_a_retry_receipt_is_answered_with_the_same_text_in_a_new_session(world: World) -> None:
    client = Client(world, world.accounts.by_phone(A))
    message_id = world.phones.send(world.phones.find(ADA), A, "unreadable at first")
    (first,) = client.stanzas
    world.relay.accept_ack(client.device, Node("ack", {"class": "message", "id": message_id}))
    world.relay.receipt(client.device, _receipt(message_id, first.text("from"), "retry"))
    assert world.oracle.after(0, 1)[0].acknowledged == ()
    again = client.stanzas[1]
    assert (again.text("id"), client.text(again)) == (message_id, "unreadable at first")
    # The ack of the copy that could not be read may come late; it does not concern the second one.
    world.relay.accept_ack(client.device, Node("ack", {"class": "message", "id": message_id}))
    assert world.relay.count_pending(client.device) == 1
    world.relay.receipt(client.device, _receipt(message_id, first.text("from")))
    assert world.relay.count_pending(client.device) == 0
    assert len(world.oracle.after(0, 1)[0].acknowledged) == 1


def test_a_receipt_waits_for_its_ack_and_for_no_other(world: World) -> None:
    client = Client(world, world.accounts.by_phone(A))
    lid = world.accounts.by_phone(ADA).lid
    for kind in ("", "read"):
        world.relay.deliver(client.device, Node("receipt", {"from": lid, "id": "3EB0", "type": kind}))
    world.relay.accept_ack(client.device, Node("ack", {"class": "receipt", "id": "3EB0", "to": lid, "type": "read"}))
    ((_, left),) = world.relay.pending(client.device)
    assert left.text("type") == ""


def test_other_devices_of_the_sender_get_the_text_as_their_own(world: World) -> None:
    client = Client(world, world.accounts.by_phone(ADA))
    world.phones.send(world.phones.find(ADA), BOB, "typed on the phone")
    (copy,) = client.stanzas
    assert copy.jid("recipient") == world.accounts.by_phone(BOB).lid
    assert client.text(copy) == "typed on the phone"
    assert [text.text for text in world.phones.find(BOB).inbox(0, 10)] == ["typed on the phone"]


def test_presence_and_typing_do_not_wait_for_anybody(world: World) -> None:
    client = Client(world, world.accounts.by_phone(A), online=False)
    world.relay.deliver(client.device, Node("presence", {"from": world.accounts.by_phone(ADA).lid}))
    assert world.relay.count_pending(client.device) == 0


def test_each_prekey_is_handed_out_once_and_then_there_are_none(world: World) -> None:
    client = Client(world, world.accounts.by_phone(A))
    query = Node(
        "iq",
        {"id": "1", "xmlns": "encrypt", "type": "get"},
        [Node("key", {}, [Node("user", {"jid": client.device.lid})])],
    )
    keys = []
    for _ in range(4):
        user = answer(world, client.device, query).child("list", "user")
        assert user is not None
        one_time = user.child("key", "id")
        keys.append(one_time.data() if one_time else None)
    assert len(set(keys[:3])) == 3
    assert keys[3] is None


def test_prekeys_that_are_not_signed_by_the_device_are_refused(world: World) -> None:
    client = Client(world, world.accounts.by_phone(A))
    signed = [Node("id", {}, b"\0\0\1"), Node("value", {}, bytes(32)), Node("signature", {}, bytes(64))]
    content = [Node("list", {}, []), Node("skey", {}, signed)]
    reply = answer(world, client.device, Node("iq", {"id": "1", "xmlns": "encrypt", "type": "set"}, content))
    assert reply.text("type") == "error"


def test_an_unknown_query_is_answered_with_an_empty_result(world: World) -> None:
    client = Client(world, world.accounts.by_phone(A))
    reply = answer(world, client.device, Node("iq", {"id": "7", "xmlns": "w:new", "type": "get"}))
    assert (reply.text("type"), reply.text("id"), reply.content) == ("result", "7", None)


def test_the_push_name_is_one_patch_however_many_devices_are_linked(world: World) -> None:
    account = world.accounts.by_phone(A)
    for _ in range(2):
        client = Client(world, account)
        world.phones.phone_of(account).provision(client.device)
        assert [node.text("category") for node in client.stanzas] == ["peer"]
    patches = world.phones.app_state.patches(account, PUSH_NAME_COLLECTION, 0)
    assert [patch.version for patch in patches] == [1]


def test_the_oracle_forgets_the_oldest_beyond_its_limit(state: State) -> None:
    oracle = Oracle(state, limit=1000)
    for index in range(6000):
        oracle.sent(f"id{index}", device="d", sender=A, recipient=ADA, kind="text", text=None)
    assert 1000 <= oracle.count() <= 2000
    assert oracle.find("id5999", "d") is not None
    assert oracle.trim() > 0
    assert oracle.count() == 0


def test_a_removed_device_leaves_nothing_behind(world: World, state: State) -> None:
    client = Client(world, world.accounts.by_phone(A), online=False)
    world.phones.send(world.phones.find(ADA), A, "never read")
    world.unlink(client.device)
    assert world.accounts.device(client.device.jid) is None
    assert state.rows("SELECT 1 FROM pending") == []
    assert state.rows("SELECT 1 FROM prekey WHERE device = ?", client.device.number) == []
    assert Accounts(state).device(client.device.jid) is None


@pytest.mark.parametrize("spelling", [ADA, "+" + ADA, ADA + "@s.whatsapp.net", ADA + ":1@s.whatsapp.net"])
def test_a_phone_is_found_by_number_and_by_address(world: World, spelling: str) -> None:
    assert world.accounts.by_phone(spelling).phone == ADA


def test_an_unknown_phone_is_an_error_of_its_own(world: World) -> None:
    with pytest.raises(UnknownPhone):
        world.phones.find("499999999")


async def test_an_outage_ends_when_its_time_is_up(world: World, autojump_clock: trio.testing.MockClock) -> None:
    faults = world.faults
    faults.apply(Request("server_down", seconds=5))
    await trio.sleep(4.9)
    assert faults.down
    await trio.sleep(0.2)
    assert not faults.down


@pytest.mark.parametrize("seconds", [None, -1.0, 1e9])
def test_an_outage_without_a_sensible_time_is_refused(world: World, seconds: float | None) -> None:
    with pytest.raises(BadFault):
        world.faults.apply(Request("server_down", seconds=seconds))


def test_an_unknown_fault_is_refused_with_those_that_exist(world: World) -> None:
    with pytest.raises(UnknownFault, match=r"cut, duplicated"):
        world.faults.apply(Request("earthquake"))


async def test_a_burst_keeps_its_rate_and_takes_the_numbers_in_turn(
    world: World, state: State, autojump_clock: trio.testing.MockClock
) -> None:
    control = Control(world)
    body = json.dumps({"to": [A, BOB], "count": 50, "rate": 10}).encode()
    async with trio.open_nursery() as nursery:
        await nursery.start(state.commit_always)
        response = await control(HttpRequest("POST", f"/phones/{ADA}/send-many", {}, body))
        nursery.cancel_scope.cancel()
    assert json.loads(response.body)["seconds"] == pytest.approx(4.9)
    assert [text.text for text in world.phones.find(BOB).inbox(0, 100)] == [f"load {i}" for i in range(1, 50, 2)]


async def test_a_wait_for_messages_ends_with_the_first_one(
    world: World, state: State, autojump_clock: trio.testing.MockClock
) -> None:
    control = Control(world)

    async def later() -> None:
        await trio.sleep(3)
        world.phones.send(world.phones.find(ADA), BOB, "at last")

    async with trio.open_nursery() as nursery:
        await nursery.start(state.commit_always)
        nursery.start_soon(later)
        response = await control(HttpRequest("GET", f"/phones/{BOB}/messages?wait=30", {}))
        assert trio.current_time() == pytest.approx(3, abs=0.1)
        empty = await control(HttpRequest("GET", f"/phones/{ADA}/messages?wait=5", {}))
        nursery.cancel_scope.cancel()
    assert [text["text"] for text in json.loads(response.body)["messages"]] == ["at last"]
    assert json.loads(empty.body) == {"messages": [], "next_after": 0}


async def test_a_connection_serves_several_requests_and_a_failing_handler_is_a_500() -> None:
    async def handler(request: HttpRequest) -> Response:
        await trio.lowlevel.checkpoint()
        if request.path == "/fails":
            raise ZeroDivisionError
        return json_response(200, {"path": request.path, "body": request.body.decode()})

    client, server = memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve, server, handler)
        await client.send_all(b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi")
        await client.send_all(b"GET /fails HTTP/1.1\r\nHost: x\r\n\r\n")
        await client.send_all(b"GET /b HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        answers = b""
        with trio.fail_after(5):
            while data := await client.receive_some():
                answers += data
    assert [part.split(b" ")[0] for part in answers.split(b"HTTP/1.1 ")[1:]] == [b"200", b"500", b"200"]
    assert b'"body": "hi"' in answers
    assert b"ZeroDivision" not in answers
