"""Which numbers are on WhatsApp, and under which spelling: asked of WhatsApp, and believed for a while."""

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, replace

import structlog
import trio

from bridge.domain.questions import OnWhatsApp, PhoneFound
from bridge.domain.spelling import other_spelling
from bridge.engine.errors import EngineError
from bridge.errors import BridgeError

log = structlog.get_logger()

PHONE_SERVER = "@s.whatsapp.net"
REMEMBERED = 10_000
BELIEVED_S = 3600.0
"""How long a number that was found is shown as such without asking again; a send believes it until one fails."""

Ask = Callable[[OnWhatsApp], Awaitable[tuple[PhoneFound, ...]]]


class UnknownRecipient(BridgeError):
    """WhatsApp does not know this number: check it, with its country code."""

    code, status = "unknown_recipient", 422


@dataclass(frozen=True, slots=True)
class Lookup:
    """What is known of a number, and whether WhatsApp was asked just now."""

    found: PhoneFound
    cached: bool = False


class Phonebook:
    """Numbers that WhatsApp knew when an instance last asked; each answer of the engine replaces what was known."""

    def __init__(self, ask: Ask) -> None:
        self._ask = ask
        self._known: OrderedDict[str, tuple[PhoneFound, float]] = OrderedDict()

    async def look_up(self, phones: Iterable[str], *, fresh: bool = False) -> list[Lookup]:
        """Return what WhatsApp says of each number (digits), in order; raise `EngineError`.

        A number that it does not know is looked up under its other spelling, if it has one.
        """
        wanted = list(dict.fromkeys(phones))
        found = {} if fresh else {phone: one for phone in wanted if (one := self._believed(phone))}
        asked = [phone for phone in wanted if phone not in found]
        if asked:
            found |= {phone: Lookup(one) for phone, one in (await self._ask_both(asked)).items()}
        return [found[phone] for phone in wanted]

    async def resolve(self, to: str) -> str:
        """Return the JID to send to: that of the account behind a number, anything else as it is.

        Raises `UnknownRecipient`; when WhatsApp cannot be asked, the number stands and the send will tell.
        """
        if not to.endswith(PHONE_SERVER):
            return to
        phone = to.removesuffix(PHONE_SERVER)
        known = self._known.get(phone)
        if known is None:
            try:
                (lookup,) = await self.look_up((phone,))
            except EngineError as error:
                log.info("recipient.not_checked", code=error.code)
                return to
            if not lookup.found.exists:
                raise UnknownRecipient(phone=phone)
            return lookup.found.jid or to
        self._known.move_to_end(phone)
        return known[0].jid or to

    def forget(self, to: str) -> None:
        """Ask again next time: WhatsApp did not take a message to this JID."""
        self._known = OrderedDict(
            (phone, entry) for phone, entry in self._known.items() if to not in {entry[0].jid, phone + PHONE_SERVER}
        )

    async def _ask_both(self, phones: list[str]) -> dict[str, PhoneFound]:
        answers = _by_phone(phones, await self._ask(OnWhatsApp(tuple(phones))))
        others = {
            other: phone
            for phone in phones
            if not answers[phone].exists and (other := other_spelling(phone)) is not None
        }
        if others:
            again = _by_phone(others, await self._ask(OnWhatsApp(tuple(others))))
            answers |= {others[other]: replace(one, phone=others[other]) for other, one in again.items() if one.exists}
        for phone, one in answers.items():
            self._learn(phone, one)
        return answers

    def _learn(self, phone: str, found: PhoneFound) -> None:
        self._known.pop(phone, None)
        if found.exists:
            self._known[phone] = (found, trio.current_time())
            while len(self._known) > REMEMBERED:
                self._known.popitem(last=False)

    def _believed(self, phone: str) -> Lookup | None:
        entry = self._known.get(phone)
        if entry is None or trio.current_time() - entry[1] > BELIEVED_S:
            return None
        return Lookup(entry[0], cached=True)


def _by_phone(asked: Iterable[str], found: tuple[PhoneFound, ...]) -> dict[str, PhoneFound]:
    """Return an answer for each number; one that WhatsApp left out does not exist."""
    answers = {one.phone: one for one in found}
    return {phone: answers.get(phone) or PhoneFound(phone, exists=False, jid=None) for phone in asked}
