"""The queries of every request and every state change find their rows by an index, however full the tables are."""

import json
from collections.abc import Iterator

import psycopg
import pytest

from bridge.store.queries import load

KEY = "0" * 31 + "7"
FILL = (
    "insert into bridge.instance (key, jid, owner, epoch, external_id)"
    " select lpad(to_hex(n), 32, '0'), n || '@s.whatsapp.net', 'node_1', 1, n from generate_series(1, 3000) n",
    "insert into bridge.command (id, instance_key, kind, body, state, idempotency_key, finished_at)"
    " select 'cmd_' || n, lpad(to_hex(1 + n % 3000), 32, '0'), 'text', '{}',"
    " case when n % 100 = 0 then 'queued' else 'sent' end, n,"
    " case when n % 100 = 0 then null else now() - n * interval '1 second' end from generate_series(1, 20000) n",
    "insert into bridge.api_key (id, name, hash)"
    " select 'key_' || n, 'k', sha256(n::text::bytea) from generate_series(1, 2000) n",
    "analyze",
)
WRITER = {"key": KEY, "owner": "node_1", "epoch": 1}
COMMAND = {
    "id": "cmd_x",
    "instance_key": KEY,
    "kind": "text",
    "body": "{}",
    "state": "queued",
    "idempotency_key": "6",
    "request_hash": None,
    "owner": None,
    "epoch": 0,
    "message_id": None,
    "result": None,
    "send_at": None,
    "durable": True,
}
STATE = {"state": "online", "reason": None, "needs": "none", "next_retry_at": None}
PAGE = {"state": None, "external_id": None, "only": None, "after_at": None, "after_key": None, "limit": 10}
QUERIES = [
    ("instances", "get", WRITER, "instance_pkey"),
    ("instances", "set_state", WRITER | STATE, "instance_pkey"),
    ("instances", "claim", {"key": KEY, "node": "node_2"}, "instance_pkey"),
    ("instances", "page", PAGE, "instance_listed"),
    ("commands", "insert", COMMAND, "command_idempotency"),
    ("commands", "get", COMMAND, "command_pkey"),
    ("commands", "start", COMMAND, "command_pkey"),
    ("commands", "finish", COMMAND | {"state": "sent"}, "command_pkey"),
    ("commands", "recover", COMMAND, "command_open"),
    ("keys", "find", {"hash": b"x" * 32}, "api_key_hash_key"),
]


@pytest.fixture(scope="module")
def full(postgres, migrated_template) -> Iterator[psycopg.Connection]:
    with psycopg.connect(postgres.dsn, autocommit=True) as admin:
        admin.execute(f"create database plans template {migrated_template}")
        with psycopg.connect(postgres.database("plans"), autocommit=True) as conn:
            for statement in FILL:
                conn.execute(statement)
            yield conn
        admin.execute("drop database plans")


@pytest.mark.parametrize(("file", "name", "params", "index"), QUERIES, ids=[f"{q[0]}.{q[1]}" for q in QUERIES])
def test_a_hot_query_uses_its_index(full, file, name, params, index):
    row = full.execute(f"explain (format json) {load(file)[name]}", params).fetchone()
    plan = json.dumps(row[0])
    assert index in plan
    assert "Seq Scan" not in plan


def test_a_state_change_is_a_heap_only_update(full):
    def hot() -> int:
        full.execute("select pg_stat_force_next_flush()")
        return full.execute("select n_tup_hot_upd from pg_stat_user_tables where relname = 'instance'").fetchone()[0]

    before = hot()
    full.execute(load("instances")["set_state"], WRITER | STATE)
    assert hot() == before + 1
