"""Signatures, checked by the standard's own library."""

import time
from datetime import UTC, datetime

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from bridge.webhooks.sign import BadSecret, new_secret, read, show, sign

BODY = '{"text":"grüß dich"}'.encode()


def headers(signature: str, at: int) -> dict[str, str]:
    return {"webhook-id": "evt_1", "webhook-timestamp": str(at), "webhook-signature": signature}


def test_the_standards_library_accepts_a_signature_and_makes_the_same() -> None:
    secret, now = new_secret(), int(time.time())
    signature = sign([secret], "evt_1", now, BODY)
    Webhook(show(secret)).verify(BODY, headers(signature, now))
    assert Webhook(show(secret)).sign("evt_1", datetime.fromtimestamp(now, UTC), BODY.decode()) == signature


def test_during_a_rotation_either_secret_verifies() -> None:
    old, new, now = new_secret(), new_secret(), int(time.time())
    signature = sign([new, old], "evt_1", now, BODY)
    for secret in (old, new):
        Webhook(show(secret)).verify(BODY, headers(signature, now))


@pytest.mark.parametrize("changed", ["id", "timestamp", "body", "secret"])
def test_a_changed_part_does_not_verify(changed: str) -> None:
    secret, now = new_secret(), int(time.time())
    sent = headers(sign([secret], "evt_1", now, BODY), now)
    if changed == "id":
        sent["webhook-id"] = "evt_2"
    if changed == "timestamp":
        sent["webhook-timestamp"] = str(now - 1)
    body = BODY + b" " if changed == "body" else BODY
    key = new_secret() if changed == "secret" else secret
    with pytest.raises(WebhookVerificationError):
        Webhook(show(key)).verify(body, sent)


def test_a_secret_is_shown_and_read_again() -> None:
    secret = new_secret()
    assert show(secret).startswith("whsec_")
    assert read(show(secret)) == read(show(secret).removeprefix("whsec_")) == secret


@pytest.mark.parametrize("text", ["", "whsec_", "whsec_c2hvcnQ=", "whsec_%%%", "ü", "whsec_" + "QUFB" * 30])
def test_a_secret_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(BadSecret):
        read(text)
