"""What reads the feed, replays and forgets finds its rows by an index, however many there are.

Each statement is planned twice: with its values, and without them, as PostgreSQL may do once it is prepared.
"""

import re
from collections.abc import Iterator

import psycopg
import pytest
from psycopg import sql

from bridge.store.queries import load
from tests.support.engine_tables import OURS, TABLES

BUSY, QUIET = "a" * 32, "b" * 32
PLENTY, FEW = "whk_plenty", "whk_few"
LONG = frozenset({"event", "message", "delivery", "attempt", "whatsmeow_lid_map"})
FILL = (
    # 200,000 events, of which every thousandth is of a quiet instance
    "insert into bridge.event (id, instance_key, seq, type, chat, dedup_key, body, owner, epoch, received_at)"
    f" select 'evt_' || lpad(n::text, 8, '0'), case when n % 1000 = 0 then '{QUIET}' else '{BUSY}' end,"
    " n, 'message.received', n % 500, format('message|%s@lid|%s@lid|%s', n % 500, n % 500, n),"
    " repeat('x', 300), 'node', 1, now() - (200000 - n) * interval '3 s'"
    " from generate_series(1, 200000) n",
    # an endpoint for all of them, and one for those of the quiet instance
    "insert into bridge.endpoint (id, url, secret) select id, 'http://h/', '\\x00' from"
    f" unnest(array['{PLENTY}', '{FEW}']) id",
    "insert into bridge.delivery (event_id, endpoint_id, lane_key, seq, state, finished_at)"
    f" select id, case when instance_key = '{QUIET}' and seq % 2000 = 0 then '{FEW}' else '{PLENTY}' end,"
    " instance_key || ':' || chat, seq,"
    " case when seq > 199000 then 'pending' when seq % 100 = 7 then 'dead' else 'delivered' end,"
    " case when seq <= 199000 then received_at end from bridge.event",
    "insert into bridge.lane (endpoint_id, key, pending)"
    " select endpoint_id, lane_key, count(*) from bridge.delivery where state = 'pending' group by 1, 2",
    "insert into bridge.attempt (endpoint_id, event_id, number, at, error)"
    " select endpoint_id, event_id, number, finished_at, 'no'"
    " from bridge.delivery, generate_series(1, 100) number where state = 'dead' order by finished_at",
    "insert into bridge.message"
    " select instance_key, chat, chat, id, false, 'text', null, 'sent', received_at, 'x', 1"
    " from bridge.event where seq % 4 = 0 order by received_at",
    "insert into bridge.replay (id, endpoint_id, request_hash, kind, cursor, until_position, queued)"
    f" select 'rpl_' || kind, '{PLENTY}', '\\x00', kind, 0, 100000, 0 from unnest(array['range', 'dead']) kind",
    "update bridge.delivery set replay = 'rpl_range' where seq between 198000 and 199500",
    # what the engine has of the busy instance
    TABLES,
    f"insert into bridge.instance (key, jid, lid, last_seq) values ('{BUSY}', '{OURS}', '9@lid', 200000)",
    "insert into whatsapp.whatsmeow_app_state_sync_keys"
    f" select '{OURS}', n::text::bytea, sha256(n::text::bytea), n from generate_series(1, 3) n",
    "insert into whatsapp.whatsmeow_lid_map select n, '49' || n from generate_series(1, 50000) n",
    "vacuum analyze",
)
READ = {"after": 100_000, "instances": None, "types": [], "limit": 100, "span": 2_000}
PAGE = {"endpoint": PLENTY, "state": None, "before": None, "limit": 100}
OLD = "evt_00005000"
MACS = {"instance": BUSY, "macs": ["00" * 32] * 400, "events": 20_000, "keys": 3}
QUERIES: list[tuple[str, str, dict[str, object], str]] = [
    ("feed", "read", READ, "event_position_key"),
    ("feed", "read", READ | {"instances": [QUIET], "types": ["message.received"]}, "event_position_key"),
    ("feed", "head", {}, "event_position_key"),
    ("feed", "position_of", {"instance": QUIET, "seq": 150_000}, "event_instance_key_seq_key"),
    ("events", "after", {"instance": QUIET, "seq": 5, "limit": 100, "types": []}, "event_instance_key_seq_key"),
    ("replays", "span_of_seq", {"instance": QUIET, "low": 190_000, "high": 199_000}, "event_instance_key_seq_key"),
    ("replays", "span_of_ids", {"low": "evt_00199000"}, "event_pkey"),
    ("replays", "span_of_event", {"id": OLD}, "event_pkey"),
    ("replays", "get", {"id": "rpl_range"}, "delivery_replay"),
    ("replays", "list", {"endpoint": PLENTY, "limit": 10}, "delivery_replay"),
    ("replays", "running", {"bound": 500}, "delivery_replay"),
    ("replays", "enqueue", {"id": "rpl_range", "batch": 200}, "event_position_key"),
    ("replays", "enqueue", {"id": "rpl_dead", "batch": 200}, "delivery_dead"),
    ("replays", "cancel", {"id": "rpl_range"}, "delivery_replay"),
    ("deliveries", "page", PAGE, "delivery_"),
    ("deliveries", "page", PAGE | {"endpoint": FEW, "state": "dead"}, "delivery_"),
    ("deliveries", "hurry", {"event": OLD, "endpoint": PLENTY}, "delivery_"),
    ("deliveries", "state_of", {"event": OLD, "endpoint": PLENTY}, "delivery_pkey"),
    ("deliveries", "backlog", {}, "delivery_pending"),
    ("deliveries", "sweep", {}, "delivery_pending"),
    ("deliveries", "prune", {"before": OLD, "older_than_s": 3_600, "limit": 5_000}, "delivery_pkey"),
    ("deliveries", "prune_attempts", {"older_than_s": 590_000, "limit": 5_000}, "attempt_old"),
    ("retention", "events", {"before": OLD, "limit": 2_000}, "event_pkey"),
    ("retention", "messages", {"older_than_s": 590_000, "limit": 2_000}, "message_old"),
    ("engine_notes", "deleted", MACS, "event_instance_key_seq_key"),
    ("engine_notes", "deleted", MACS, "whatsmeow_lid_map_pkey"),
    ("endpoints", "lag", {"ids": [PLENTY, FEW], "dead_max": 1_000}, "delivery_dead"),
]
ROWS_MAX = 25_000
"""That a statement may look at: more than any batch has, far less than there are."""


@pytest.fixture(scope="module")
def full(postgres, migrated_template) -> Iterator[psycopg.Connection]:
    with psycopg.connect(postgres.dsn, autocommit=True) as admin:
        admin.execute(f"create database delivery_plans template {migrated_template}")
        with psycopg.connect(postgres.database("delivery_plans"), autocommit=True) as conn:
            for statement in FILL:
                conn.execute(statement)
            yield conn
        admin.execute("drop database delivery_plans")


@pytest.mark.parametrize("generic", [False, True], ids=["with values", "prepared"])
@pytest.mark.parametrize(("file", "name", "params", "index"), QUERIES, ids=[f"{q[0]}.{q[1]}" for q in QUERIES])
def test_a_query_over_many_rows_uses_its_index(full, file, name, params, index, generic):
    full.execute("set plan_cache_mode = " + ("force_generic_plan" if generic else "force_custom_plan"))
    names = list(params)
    query = re.sub(r"%\((\w+)\)s", lambda match: f"${names.index(match[1]) + 1}", load(file)[name])
    with full.transaction(force_rollback=True), full.cursor() as cursor:
        if file == "retention":  # waits for replays
            cursor.execute("update bridge.replay set state = 'queued', ended_at = now()")
        cursor.execute("deallocate all")
        cursor.execute(f"prepare statement as {query}")
        given = ", ".join(sql.Literal(value).as_string(full) for value in params.values())
        cursor.execute(f"explain (analyze, buffers) execute statement {f'({given})' if given else ''}")
        plan = "\n".join(row[0] for row in cursor.fetchall())
    assert index in plan, plan
    assert not set(re.findall(r"Seq Scan on (\w+)", plan)) & LONG, plan
    looked_at = [int(rows) for rows in re.findall(r"Rows Removed by (?:Join )?Filter: (\d+)", plan)]
    assert sum(looked_at) < ROWS_MAX, plan
