"""Calls about phone numbers: whether WhatsApp knows them, under which spelling, and which LID is behind them."""

from dataclasses import dataclass

from quart.wrappers import Response

from bridge.api import schemas_phones as schemas
from bridge.api.auth import Access, Reach
from bridge.api.call import Call, Route, answer
from bridge.api.context import ApiContext
from bridge.api.problems import InvalidField, InvalidRecipientField
from bridge.api.recipients import read
from bridge.domain.identity import Server, phone_of
from bridge.domain.ids import InstanceKey
from bridge.domain.questions import LidOfPhone, PhoneFound, PhoneOfLid

FOUND, NOT_FOUND = "success", "not_found"


def routes(context: ApiContext) -> tuple[Route, ...]:
    calls = PhoneCalls(context)
    return (
        Route("POST", "/phone/validate", calls.validate, Access.SEND, Reach.ONE),
        Route("POST", "/phone/test-exists", calls.test_exists, Access.SEND, Reach.ONE),
        Route("POST", "/phone/check", calls.check, Access.SEND, Reach.ONE),
        Route("POST", "/phone/lid-to-phone", calls.lid_to_phone, Access.SEND, Reach.ONE),
        Route("POST", "/phone/phone-to-lid", calls.phone_to_lid, Access.SEND, Reach.ONE),
    )


@dataclass(frozen=True, slots=True)
class PhoneCalls:
    """The handlers. They ask WhatsApp over the instance's session, so it has to be online."""

    context: ApiContext

    async def validate(self, call: Call) -> Response:
        request = await call.json(schemas.OnePhone)
        key = call.instance(request.instance_key)
        phone = digits("phone", request.phone)
        found = await self._find(key, phone)
        lid = await self.context.directory.query(key, LidOfPhone(found.jid)) if found.jid else None
        valid = phone_of(found.jid) or phone
        text = "The number is on WhatsApp." if found.exists else "WhatsApp does not know this number."
        body = schemas.Validated(FOUND, request.phone, valid, found.exists, found.jid, lid, text)
        return answer(body)

    async def test_exists(self, call: Call) -> Response:
        request = await call.json(schemas.OnePhone)
        key = call.instance(request.instance_key)
        phone = digits("phone", request.phone)
        found = await self._find(key, phone)
        details = [schemas.ExistsDetail(found.jid or f"{phone}@{Server.USER.value}", found.exists)]
        raw = [{"Query": f"+{phone}", "JID": found.jid, "IsIn": found.exists, "VerifiedName": found.verified_name}]
        return answer(schemas.Exists(phone, found.exists, raw, details))

    async def check(self, call: Call) -> Response:
        request = await call.json(schemas.ManyPhones)
        key = call.instance(request.instance_key)
        phones = [digits("phones", text) for text in request.phones]
        lookups = await self.context.directory.look_up(key, phones, fresh=request.fresh)
        by_phone = {lookup.found.phone: lookup for lookup in lookups}
        results = []
        for phone in phones:
            found = by_phone[phone].found
            lid = await self.context.directory.query(key, LidOfPhone(found.jid)) if found.jid else None
            results.append(schemas.Checked(phone, found.exists, found.jid, lid, found.verified_name))
        return answer(schemas.CheckedPhones(results, all(lookup.cached for lookup in lookups)))

    async def lid_to_phone(self, call: Call) -> Response:
        request = await call.json(schemas.OneLid)
        key = call.instance(request.instance_key)
        if not request.lid.strip().endswith("@lid"):
            raise InvalidField("lid", "must end in @lid")
        lid = read("lid", request.lid).jid
        phone = phone_of(await self.context.directory.query(key, PhoneOfLid(lid)))
        status = FOUND if phone else NOT_FOUND
        text = "The number is known." if phone else "WhatsApp has not told this instance the number."
        return answer(schemas.LidPhone(status, lid, phone, phone is not None, text))

    async def phone_to_lid(self, call: Call) -> Response:
        request = await call.json(schemas.OnePhone)
        key = call.instance(request.instance_key)
        phone = digits("phone", request.phone)
        found = await self._find(key, phone)
        lid = await self.context.directory.query(key, LidOfPhone(found.jid)) if found.jid else None
        status = FOUND if lid else NOT_FOUND
        text = "The LID is known." if lid else "WhatsApp has not told this instance a LID."
        return answer(schemas.PhoneLid(status, phone, lid, lid is not None, text))

    async def _find(self, key: InstanceKey, phone: str) -> PhoneFound:
        (lookup,) = await self.context.directory.look_up(key, [phone], fresh=True)
        return lookup.found


def digits(field: str, text: str) -> str:
    """Return the digits of the phone number in a field; raise `InvalidRecipientField` for anything else."""
    phone = read(field, text).phone
    if phone is None:
        raise InvalidRecipientField(field, "must be a phone number with its country code")
    return phone
