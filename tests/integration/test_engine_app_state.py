"""The MAC under which the real engine stores a deletion is the one that PostgreSQL computes from the engine's key."""

import json
from collections.abc import Sequence
from pathlib import Path

import psycopg
import pytest

from bridge.sandbox.client import SandboxRefused
from tests.support.engine import SOON_S, running_rig
from tests.support.stack import until

pytestmark = pytest.mark.engine

CONTACT = "4915100000099"
STORED = "select index_mac from whatsapp.whatsmeow_app_state_mutation_macs where name = 'regular_high'"
COMPUTED = """
select bridge.hmac_sha256(bridge.app_state_index_key(key_data), %s) from whatsapp.whatsmeow_app_state_sync_keys
"""


async def test_the_mac_of_a_deletion(database_url: str, tmp_path: Path) -> None:
    async with running_rig(database_url, tmp_path) as rig:
        await rig.phones.create_phone(CONTACT)
        ada = await rig.pair()
        await rig.online(ada)
        message_id = await rig.phones.send(CONTACT, ada.phone.phone, "not for long")
        values = await rig.phones.delete_for_me(ada.phone.phone, message_id)
        name = next(json.loads(one.index) for one in values if one.collection == "regular_high")
        assert name == ["deleteMessageForMe", name[1], message_id, "0", "0"]
        with pytest.raises(SandboxRefused) as refused:
            await rig.phones.delete_for_me(ada.phone.phone, "never seen")
        assert (refused.value.http_status, refused.value.error) == (404, "unknown_message")
        with psycopg.connect(database_url, autocommit=True) as conn:

            async def stored() -> Sequence[tuple[bytes]]:
                return conn.execute(STORED).fetchall()

            await until(stored, SOON_S)
            index = json.dumps(name, separators=(",", ":")).encode()
            assert await stored() == conn.execute(COMPUTED, [index]).fetchall()
