"""Accounts of the sandbox without a client: spellings, app state, pairing codes, and what a restart must not lose."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from bridge.protos import server_sync, sync_action
from bridge.sandbox.accounts import Account, Device, SignedPrekey
from bridge.sandbox.appstate import AppState, Setting
from bridge.sandbox.linkcodes import REGISTRATION
from bridge.sandbox.nodes import Jid, Node
from bridge.sandbox.profiles import BadSetting
from bridge.sandbox.queries import answer
from bridge.sandbox.spellings import other_spelling
from bridge.sandbox.state import State
from bridge.sandbox.world import World

PHONE = "4915100000001"


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    state = State(tmp_path / "sandbox.db")
    yield World.load(state)
    state.close()


def account(world: World, phone: str = PHONE) -> Account:
    return world.phones.create(phone, "Ann")[0].account


def client(owner: Account, number: int = 1) -> Device:
    signed = SignedPrekey(b"\0\0\1", bytes(32), bytes(64))
    device = Device(owner, number, bytes(32), b"\0\0\0\1", signed, bytes(32))
    owner.devices[number] = device
    return device


def ask(world: World, device: Device, xmlns: str, kind: str, *content: Node) -> Node:
    return answer(world, device, Node("iq", {"xmlns": xmlns, "type": kind, "id": "1"}, list(content)))


def error_of(node: Node) -> str:
    found = node.child("error")
    return "" if found is None else found.text("code")


# --- spellings --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("number", "other"),
    [
        ("5511987654321", "551187654321"),
        ("551187654321", "5511987654321"),
        ("5215512345678", "525512345678"),
        ("525512345678", "5215512345678"),
        ("5491123456789", "541123456789"),
        ("541123456789", "5491123456789"),
        ("551133334444", None),  # a landline: it never got a ninth digit
        ("4915100000001", None),
        ("55119876543210", None),
    ],
)
def test_a_number_has_another_spelling_where_its_country_changed_its_numbers(number: str, other: str | None) -> None:
    assert other_spelling(number) == other


# --- app state --------------------------------------------------------------------------------------------------------


def pinned(value: bool) -> Setting:
    action = sync_action.SyncActionValue()
    action.pinAction.pinned = value
    return Setting("regular_low", ("pin_v1", "1@lid"), action, 5)


def test_a_clients_step_is_taken_when_it_fits_and_only_then(world: World, tmp_path: Path) -> None:
    ann = account(world)
    store = world.phones.app_state
    store.set(ann, pinned(True))
    (first,) = store.patches(ann, "regular_low", 0)
    theirs = State(tmp_path / "client.db")
    copy = AppState(theirs)  # the same collection, as a client has it, one step ahead
    copy._state.run("INSERT INTO app_state SELECT ?, 'regular_low', 1, ?, ?", ann.phone, *_row(store, ann))
    for values in store._state.rows("SELECT * FROM app_state_value"):
        copy._state.run("INSERT INTO app_state_value VALUES (?, ?, ?, ?, ?, ?)", *values)
    copy.set(ann, pinned(False))
    step = copy.patches(ann, "regular_low", 1)[0].body
    theirs.close()

    forged = server_sync.SyncdPatch.FromString(step)
    forged.patchMAC = bytes(32)
    assert store.accept(ann, "regular_low", 1, forged.SerializeToString()) is None
    assert store.accept(ann, "regular_low", 0, step) is None  # it does not know the first step
    assert len(store.patches(ann, "regular_low", 0)) == 1
    settings = store.accept(ann, "regular_low", 1, step)
    assert settings is not None
    assert settings[0].index == ("pin_v1", "1@lid")
    assert next(value for _, _, value in store.values(ann))["pinAction"] == {"pinned": False}
    assert store.accept(ann, "regular_low", 1, step) is None  # another step came first: this one
    assert first.version == 1


def _row(store: AppState, owner: Account) -> tuple[bytes, bytes]:
    row = store._state.one("SELECT hash, patch FROM app_state WHERE phone = ?", owner.phone)
    assert row is not None
    return row[0], row[1]


# --- pairing codes ----------------------------------------------------------------------------------------------------


@dataclass
class Link:
    noise_key: bytes = bytes(32)
    sent: list[Node] = field(default_factory=list)

    def send(self, node: Node) -> None:
        self.sent.append(node)

    def close_soon(self) -> None: ...


def hello(display: str, wrapped: bytes = bytes(80)) -> Node:
    content = [
        Node("link_code_pairing_wrapped_companion_ephemeral_pub", {}, wrapped),
        Node("companion_platform_display", {}, display.encode()),
    ]
    attrs = {"stage": "companion_hello", "jid": Jid(PHONE, "s.whatsapp.net")}
    return Node("iq", {"id": "1", "xmlns": "md"}, [Node(REGISTRATION, attrs, content)])


def test_a_client_must_call_itself_as_browsers_do_and_send_a_whole_key(world: World) -> None:
    assert error_of(world.codes.answer(Link(), hello("My bridge"))) == "400"
    assert error_of(world.codes.answer(Link(), hello("Chrome (Linux)", bytes(79)))) == "400"
    assert world.codes.asked(PHONE) is None
    link = Link()
    assert error_of(world.codes.answer(link, hello("Chrome (Linux)"))) == ""
    assert world.codes.asked(PHONE) is not None
    world.codes.forget(link)
    assert world.codes.asked(PHONE) is None


def test_a_client_cannot_finish_what_it_has_not_begun(world: World) -> None:
    finish = Node("iq", {"id": "1"}, [Node(REGISTRATION, {"stage": "companion_finish"}, [])])
    assert error_of(world.codes.answer(Link(), finish)) == "404"
    assert error_of(world.codes.answer(Link(), Node("iq", {"id": "1"}))) == "400"


# --- settings and newsletters -----------------------------------------------------------------------------------------


def test_settings_that_there_are_not_are_refused(world: World) -> None:
    ann = account(world)
    device = client(ann)
    wrong = Node("privacy", {}, [Node("category", {"name": "last", "value": "friends"})])
    assert error_of(ask(world, device, "privacy", "set", wrong)) == "400"
    with pytest.raises(BadSetting):
        world.profiles.set_privacy(ann, "shoes", "all")
    stranger = Node("item", {"jid": Jid("999", "lid"), "action": "block"})
    assert error_of(ask(world, device, "blocklist", "set", stranger)) == "400"
    odd = Node("disappearing_mode", {"duration": "5"})
    assert error_of(ask(world, device, "disappearing_mode", "set", odd)) == "400"
    picture = Node("picture", {"type": "image"}, b"GIF89a")
    assert error_of(ask(world, device, "w:profile:picture", "set", picture)) == "406"


def test_only_the_owner_posts_to_a_newsletter(world: World) -> None:
    ann, bob = account(world), account(world, "4915100000002")
    mine = world.newsletters.create("News", "", ann)
    post = Node("message", {"to": mine.jid, "id": "M1"}, [Node("plaintext", {}, b"")])
    assert world.newsletters.take(client(bob), post)["error"] == "403"
    assert "error" not in world.newsletters.take(client(ann), post)
    nowhere = Node("message", {"to": Jid("1", "newsletter"), "id": "M2"})
    assert world.newsletters.take(client(ann, 2), nowhere)["error"] == "404"
    unknown = Node("query", {"query_id": "1"}, b'{"variables": {}}')
    found = ask(world, client(ann, 3), "w:mex", "get", unknown).child("result")
    assert found is not None
    assert b"unknown query" in found.data()


def test_a_restart_loses_nothing_of_accounts_and_newsletters(tmp_path: Path) -> None:
    state = State(tmp_path / "sandbox.db")
    world = World.load(state)
    ann, bob = account(world), account(world, "4915100000002")
    world.profiles.set_about(ann, "At the sea")
    world.profiles.set_verified_name(ann, "Sea Ltd")
    world.profiles.set_privacy(ann, "last", "none")
    world.profiles.set_blocked(ann, bob.lid, blocked=True)
    picture = world.profiles.set_picture(ann, b"\xff\xd8\xff picture")
    news = world.newsletters.create("News", "Tides", ann)
    world.newsletters.follow(news, bob)
    world.newsletters.react(news, world.newsletters.post(news, "High water").server_id, bob, "+")
    world.history.add(ann, bob.lid, "long ago", from_me=False, at=5)
    world.phones.app_state.set(ann, pinned(True))
    state.close()

    state = State(tmp_path / "sandbox.db")
    world = World.load(state)
    ann = world.accounts.by_phone(PHONE)
    profile = world.profiles.of(ann)
    assert (ann.about, ann.picture, ann.blocked) == ("At the sea", picture, [bob.lid])
    assert (profile.verified_name, profile.privacy["last"]) == ("Sea Ltd", "none")
    assert world.profiles.picture(f"/v/picture/{picture}") == b"\xff\xd8\xff picture"
    (again,) = world.newsletters
    assert (again.name, list(again.roles), again.posts[0].reactions) == ("News", [PHONE, bob.phone], {bob.phone: "+"})
    assert [one.text for one in world.history.of(ann)] == ["long ago"]
    assert [index for _, index, _ in world.phones.app_state.values(ann)] == ['["pin_v1", "1@lid"]']
    state.close()
