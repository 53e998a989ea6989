"""The tables of the engine that our triggers watch, as far as they matter, for tests without an engine."""

from collections.abc import Sequence
from typing import Final

from bridge.store.store import Store

OURS: Final = "49150:1@s.whatsapp.net"
TABLES: Final = """
create schema if not exists whatsapp;
create table whatsapp.whatsmeow_contacts (
    our_jid text, their_jid text, push_name text, primary key (our_jid, their_jid));
create table whatsapp.whatsmeow_lid_map (lid text primary key, pn text unique);
create table whatsapp.whatsmeow_chat_settings (
    our_jid text, chat_jid text, muted_until bigint not null default 0, pinned boolean not null default false,
    archived boolean not null default false, primary key (our_jid, chat_jid));
create table whatsapp.whatsmeow_app_state_sync_keys (
    jid text, key_id bytea, key_data bytea not null, timestamp bigint not null, primary key (jid, key_id));
create table whatsapp.whatsmeow_app_state_version (
    jid text, name text, version bigint not null, hash bytea not null, primary key (jid, name));
create table whatsapp.whatsmeow_app_state_mutation_macs (
    jid text, name text, version bigint, index_mac bytea, value_mac bytea not null,
    primary key (jid, name, version, index_mac),
    foreign key (jid, name) references whatsapp.whatsmeow_app_state_version on delete cascade);
"""


async def execute(store: Store, statements: Sequence[str]) -> None:
    async with store.connection() as conn:
        for statement in statements:
            await conn.execute(statement.encode())
