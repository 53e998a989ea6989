"""Names the parts of the sandbox that answer a client, so that handlers can be handed all of them at once."""

from dataclasses import dataclass, field
from pathlib import Path

from bridge.sandbox.accounts import Account, Accounts, Device
from bridge.sandbox.appstate import Setting
from bridge.sandbox.connections import Connections
from bridge.sandbox.fault_plan import Schedules
from bridge.sandbox.faults import Faults
from bridge.sandbox.groups import Groups
from bridge.sandbox.history import History
from bridge.sandbox.linkcodes import LinkCodes
from bridge.sandbox.load import Loads
from bridge.sandbox.media_files import MediaFiles
from bridge.sandbox.media_host import MediaHost
from bridge.sandbox.newsletters import Newsletters
from bridge.sandbox.nodes import Node
from bridge.sandbox.oracle import Oracle
from bridge.sandbox.pairing import Pairing
from bridge.sandbox.phones import Phones
from bridge.sandbox.profiles import Profiles
from bridge.sandbox.relay import Attrs, Relay, new_stanza_id, now_text
from bridge.sandbox.state import State


@dataclass(slots=True)
class Trust:
    """What a client elsewhere has to be told, once the server knows it."""

    root_key: str = ""
    proxy_port: int = 0
    ca_file: Path = Path()


@dataclass(frozen=True, slots=True)
class World:
    """Everything behind the connections."""

    state: State
    accounts: Accounts
    oracle: Oracle
    groups: Groups
    relay: Relay
    phones: Phones
    profiles: Profiles
    newsletters: Newsletters
    history: History
    media: MediaFiles
    host: MediaHost
    pairing: Pairing
    codes: LinkCodes
    connections: Connections
    faults: Faults
    schedules: Schedules
    loads: Loads
    trust: Trust = field(default_factory=Trust)

    @classmethod
    def load(cls, state: State) -> "World":
        """Build the parts from what the state holds."""
        accounts = Accounts(state)
        oracle = Oracle(state)
        groups = Groups(state, accounts)
        relay = Relay(state, accounts, oracle, groups)
        phones = Phones(state, accounts, oracle, groups, relay)
        profiles = Profiles(state, accounts, relay)
        pairing = Pairing(accounts)
        connections = Connections()
        faults = Faults(connections)
        media = MediaFiles(state.folder / "media")
        world = cls(
            state=state,
            accounts=accounts,
            oracle=oracle,
            groups=groups,
            relay=relay,
            phones=phones,
            profiles=profiles,
            newsletters=Newsletters(state, accounts, relay),
            history=History(state, accounts, phones, media),
            media=media,
            host=MediaHost(media, faults.media_status),
            pairing=pairing,
            codes=LinkCodes(pairing),
            connections=connections,
            faults=faults,
            schedules=Schedules(faults, accounts),
            loads=Loads(state, accounts, phones),
        )
        faults.unlink = world.unlink
        world.host.watchers.append(
            lambda done: oracle.transferred(done.direction, done.name, done.kind, done.size, done.status)
        )
        return world

    def announce(self, change: str, device: Device) -> None:
        """Tell the clients that know an account's device list that it changed (`add` or `remove`).

        The hash is not the real one: a client that finds it wrong forgets the list and asks again, which is wanted.
        """
        account: Account = device.account
        content = [Node(change, {"device_hash": "2:changed"}, [Node("device", {"jid": device.lid})])]
        for listener in list(account.listed_by):
            attrs: Attrs = {"from": account.lid, "type": "devices", "id": new_stanza_id(), "t": now_text()}
            self.relay.deliver(listener, Node("notification", attrs, content))

    def set_app_state(self, account: Account, setting: Setting) -> None:
        """Change a value of an account's app state, as its phone does, and tell its clients."""
        version = self.phones.app_state.set(account, setting)
        self.profiles.tell_app_state(account, setting.collection, version)

    def unlink(self, device: Device) -> None:
        """Remove a linked device from its account, and end its connection with the reason."""
        self.announce("remove", device)
        self.accounts.remove_device(device)
        connection = self.connections.current(device)
        if connection is not None:
            reason = Node("conflict", {"type": "device_removed"})
            connection.send(Node("stream:error", {"code": "401"}, [reason]))
            connection.close_soon()
