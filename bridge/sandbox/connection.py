"""One client's connection: the handshake, then stanzas in both directions until either side ends it.

The reader handles a stanza at once and completely; nothing in a handler waits. What it says to this or to other clients
is put into their outboxes. The writer takes an outbox as a whole, waits until the state is committed, encrypts and
sends. So nobody is told what a crash could undo, and a burst costs one commit.

A handler that fails is a bug of the sandbox: it is logged, the client's query is refused, and everything goes on.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import structlog
import trio

from bridge.protos import wa6
from bridge.sandbox import presence, ringing
from bridge.sandbox.accounts import Device
from bridge.sandbox.answers import refusal, result
from bridge.sandbox.causes import first_cause
from bridge.sandbox.interference import Interference
from bridge.sandbox.keys import KeyPair
from bridge.sandbox.newsletters import NEWSLETTER_SERVER
from bridge.sandbox.nodes import GROUP_SERVER, SERVER, Jid, Node, decode, encode
from bridge.sandbox.noise import PROLOGUE, Cipher, HandshakeFailed, NoiseResponder
from bridge.sandbox.queries import answer
from bridge.sandbox.relay import Attrs, now_text
from bridge.sandbox.websocket import WebSocket, WebSocketClosed
from bridge.sandbox.world import World

log = structlog.get_logger()

_HANDSHAKE_WITHIN_S: Final = 20.0
_CLOSE_AFTER_S: Final = 0.2
"""A client that is cut right behind a stream error takes it for a lost connection, and comes back."""
_DRAIN_WITHIN_S: Final = 5.0
"""How long the last words may wait in the outbox, as they do behind a slow or half-open connection."""
_PAGE: Final = 200
_MAX_OUTBOX_BYTES: Final = 32 << 20
"""A client that does not read is cut off here. What it misses waits in its pending list."""


@dataclass(frozen=True, slots=True)
class ServerKeys:
    """What the server proves itself with in the handshake."""

    static: KeyPair
    chain: bytes


_OF_THE_MOMENT: Final[Mapping[str, Callable[[World, Device, Node], None]]] = {
    "presence": presence.announce,
    "chatstate": presence.typing,
    "call": ringing.pass_on,
}
"""Stanzas of a client that nobody acknowledges and nothing keeps."""


class Connection:
    """A client behind a websocket. `device` is there once it has logged in."""

    def __init__(self, world: World, keys: ServerKeys, websocket: WebSocket) -> None:
        self._world = world
        self._keys = keys
        self._websocket = websocket
        self._frames = _Frames(websocket)
        self._outbox: list[bytes] = []
        self._outbox_bytes = 0
        self._unsent = False
        self._posted = trio.Event()
        self._drained = trio.Event()
        self._scope = trio.CancelScope()
        self._nursery: trio.Nursery | None = None
        self._ending = False
        self._faults = Interference(world.faults, world.oracle, self._later)
        self.noise_key = b""
        self.device: Device | None = None

    def send(self, node: Node) -> None:
        """Send a stanza behind everything that was sent before."""
        self.post(encode(node))

    def post(self, stanza: bytes) -> None:
        """Send an encoded stanza behind everything that was sent before."""
        self._faults.outgoing(self.device, stanza, self._post)

    def _post(self, stanza: bytes) -> None:
        if self._ending:
            return
        self._outbox.append(stanza)
        self._unsent = True
        self._outbox_bytes += len(stanza)
        self._posted.set()
        if self._outbox_bytes > _MAX_OUTBOX_BYTES:
            self.cut()

    def cut(self) -> None:
        """End the connection without a word."""
        self._ending = True
        self._scope.cancel()

    def close_soon(self) -> None:
        """End the connection when the client has had the time to read what was sent last."""
        if self._nursery is not None and not self._ending:
            self._nursery.start_soon(self._close_later)

    async def run(self) -> None:
        """Serve the client until the connection ends; raise nothing for what a client or the network may do."""
        self._world.connections.add(self)
        try:
            with self._scope:
                await self._serve()
        except* WebSocketClosed:
            pass
        except* HandshakeFailed as group:
            log.info("sandbox.handshake_failed", error=str(first_cause(group)))
        finally:
            self._world.connections.remove(self)
            self._world.pairing.forget(self)
            self._world.codes.forget(self)
            if self.device is not None and self.device.link is self:
                self.device.link = None
                if self.device.account.online:
                    presence.show(self._world, self.device.account, online=False)
            with trio.move_on_after(1, shield=True):
                await self._websocket.abort()

    async def _serve(self) -> None:
        with trio.fail_after(_HANDSHAKE_WITHIN_S):
            payload, receive, send = await self._handshake()
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            nursery.start_soon(self._write, send)
            self._welcome(payload)
            while True:
                node = decode(receive.decrypt(await self._frames.next()))
                await self._world.faults.passage(self.device.account if self.device else None)
                try:
                    self._handle(node)
                except Exception:
                    log.exception("sandbox.handler_failed", tag=node.tag, xmlns=node.text("xmlns"))
                    if node.tag == "iq":
                        self.send(refusal(node, 500, "internal-server-error"))

    async def _handshake(self) -> tuple["wa6.ClientPayload", Cipher, Cipher]:
        await self._frames.expect(PROLOGUE)
        noise = NoiseResponder(PROLOGUE)
        hello = wa6.HandshakeMessage.FromString(await self._frames.next()).clientHello
        ours = noise.answer(hello.ephemeral, self._keys.static, self._keys.chain)
        message = wa6.HandshakeMessage()
        message.serverHello.ephemeral = ours.ephemeral
        message.serverHello.static = ours.static
        message.serverHello.payload = ours.payload
        await self._websocket.send(_frame(message.SerializeToString()))
        finish = wa6.HandshakeMessage.FromString(await self._frames.next()).clientFinish
        self.noise_key, payload = noise.accept(finish.static, finish.payload)
        receive, send = noise.finish()
        return wa6.ClientPayload.FromString(payload), receive, send

    def _welcome(self, payload: "wa6.ClientPayload") -> None:
        """Begin to pair a new client, or log a known one in."""
        if not payload.HasField("devicePairingData"):
            self._log_in(payload)
            return
        refused = self._faults.refusal_of_login(None)
        if refused is not None:
            self._refuse(refused)
        else:
            self._world.pairing.offer(self, payload.devicePairingData)

    def _log_in(self, payload: "wa6.ClientPayload") -> None:
        """Accept a device that proved its Noise key, and put the one aside that was connected as it."""
        device = self._world.accounts.device(Jid(str(payload.username), "s.whatsapp.net", payload.device))
        if device is None or device.noise != self.noise_key:
            self._refuse(Node("failure", {"reason": "401", "location": "atn"}))
            return
        refused = self._faults.refusal_of_login(device.account)
        if refused is not None:
            self._refuse(refused)
            return
        self.device = device
        for other in self._world.connections.take_over(device, self):
            other.send(Node("stream:error", {}, [Node("conflict", {"type": "replaced"})]))
            other.close_soon()
        device.link = None
        presence.forget(self._world, device)
        attrs: Attrs = {
            "t": now_text(),
            "props": "27",
            "companion_enc_static": "NULL",
            "lid": device.lid,
            "display_name": device.account.name,
            "abprops": "9",
            "group_abprops": "7",
            "location": "atn",
            "creation": "1700000000",
        }
        self.send(Node("success", attrs))

    def _refuse(self, failure: Node) -> None:
        self.send(failure)
        self.close_soon()

    def _handle(self, node: Node) -> None:
        world, device = self._world, self.device
        if node.tag == "iq" and node.text("type") in ("result", "error"):
            self._answered(node)
            return
        if device is None:
            if node.tag == "iq":
                self.send(world.codes.answer(self, node))
            return
        if device.account.devices.get(device.number) is not device:
            return
        match node.tag:
            case "iq":
                self._query(device, node)
            case "message":
                self._message(device, node)
            case "receipt":
                self._acknowledge(node, {"type": node.text("type"), "participant": node.jid("participant")})
                if node.text("type") == "view":
                    world.newsletters.view(node)
                else:
                    world.relay.receipt(device, node)
            case "ack":
                world.relay.accept_ack(device, node)
            case tag if tag in _OF_THE_MOMENT:
                _OF_THE_MOMENT[tag](world, device, node)

    def _answered(self, node: Node) -> None:
        linked = self._world.pairing.answered(self, node)
        if linked is not None:
            self._world.announce("add", linked)

    def _message(self, device: Device, node: Node) -> None:
        to = node.jid("to")
        if to is not None and to.server == NEWSLETTER_SERVER:
            self._acknowledge(node, self._world.newsletters.take(device, node))
            return
        group = self._world.groups.find(to) if to is not None and to.server == GROUP_SERVER else None
        if group is not None and not self._world.groups.may_send(device.account, group):
            self._acknowledge(node, {"t": now_text(), "error": "403"})
            return
        refused = self._faults.refusal_of_message(device, node)
        if refused is not None:
            self._acknowledge(node, {"t": now_text(), "error": str(refused)})
            return
        self._acknowledge_in(self._faults.delay_of_ack(device), node)
        self._world.relay.message(device, node)

    def _acknowledge_in(self, delay_s: float | None, node: Node) -> None:
        """Acknowledge a message: at once, unless a fault says when or never."""
        if delay_s:
            self._later(delay_s, lambda: self._acknowledge(node, {"t": now_text()}))
        elif delay_s is not None:
            self._acknowledge(node, {"t": now_text()})

    def _acknowledge(self, node: Node, more: Attrs) -> None:
        """Tell the client that its stanza is with us."""
        self.send(Node("ack", {"class": node.tag, "id": node.text("id"), "from": node.jid("to"), **more}))

    def _query(self, device: Device, node: Node) -> None:
        namespace = node.text("xmlns")
        if self._faults.swallows(device, node):
            return
        refused = self._faults.refusal_of_query(device, node)
        if refused is not None:
            self.send(refusal(node, refused, "rate-overlimit"))
            return
        if namespace == "md":
            self._unlink(node)
            return
        self.send(answer(self._world, device, node))
        if namespace == "passive" and node.child("active") is not None and self._nursery is not None:
            self._nursery.start_soon(self._resume, device)

    def _unlink(self, node: Node) -> None:
        """Remove a device of this account, as the client asks when it logs out."""
        asked = node.child("remove-companion-device")
        jid = asked.jid("jid") if asked else None
        target = self._world.accounts.device(jid) if jid else None
        self.send(result(node))
        if target is not None and self.device is not None and target.account is self.device.account and target.number:
            self._world.unlink(target)

    async def _resume(self, device: Device) -> None:
        """Send what waited for the device, page by page, and from then on what comes in."""
        relay = self._world.relay
        waiting = relay.count_pending(device)
        if waiting:
            counts = {"count": str(waiting), "message": str(waiting), "receipt": "0", "notification": "0"}
            self.send(Node("ib", {"from": SERVER}, [Node("offline_preview", {**counts, "appdata": "0"})]))
        last = 0
        while page := relay.pending(device, last, _PAGE):
            for seq, node in page:
                last = seq
                self.send(node.with_attrs(offline="0"))
            while self._outbox:
                await self._drained.wait()
        self.send(Node("ib", {"from": SERVER}, [Node("offline", {"count": str(waiting)})]))
        if self._world.connections.current(device) is self:
            device.link = self
            if not device.provisioned:
                device.provisioned = True
                self._world.accounts.save_device(device)
                self._world.phones.phone_of(device.account).provision(device)
                self._world.history.send(device)

    async def _write(self, cipher: Cipher) -> None:
        while True:
            await self._posted.wait()
            await self._world.faults.passage(self.device.account if self.device else None)
            batch, self._outbox, self._outbox_bytes = self._outbox, [], 0
            self._posted = trio.Event()
            await self._world.state.settled()
            await self._websocket.send_all(_frame(cipher.encrypt(stanza)) for stanza in batch)
            self._unsent = bool(self._outbox)
            self._drained.set()
            self._drained = trio.Event()

    def _later(self, seconds: float, call: Callable[[], None]) -> None:
        """Call something when the time has passed, if the connection is still there."""
        if self._nursery is not None:
            self._nursery.start_soon(self._call_later, seconds, call)

    async def _call_later(self, seconds: float, call: Callable[[], None]) -> None:
        await trio.sleep(seconds)
        call()

    async def _close_later(self) -> None:
        with trio.move_on_after(_DRAIN_WITHIN_S):
            while self._unsent:
                await self._drained.wait()
        await trio.sleep(_CLOSE_AFTER_S)
        self._ending = True
        await self._websocket.close()
        self._scope.cancel()


class _Frames:
    """Takes frames (three bytes of length, big-endian, then the payload) out of websocket messages."""

    def __init__(self, websocket: WebSocket) -> None:
        self._websocket = websocket
        self._buffer = bytearray()

    async def expect(self, prefix: bytes) -> None:
        """Take what stands in front of the first frame; raise `HandshakeFailed` for anything else."""
        if await self._take(len(prefix)) != prefix:
            raise HandshakeFailed("another protocol version")

    async def next(self) -> bytes:
        return await self._take(int.from_bytes(await self._take(3), "big"))

    async def _take(self, size: int) -> bytes:
        while len(self._buffer) < size:
            self._buffer += await self._websocket.recv()
        taken = bytes(self._buffer[:size])
        del self._buffer[:size]
        return taken


def _frame(payload: bytes) -> bytes:
    return len(payload).to_bytes(3, "big") + payload
