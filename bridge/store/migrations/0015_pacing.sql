-- What a caller chooses for an instance, when it was paired, and what WhatsApp refuses to it for a while.

alter table bridge.instance
    add column settings    jsonb not null default '{}' check (jsonb_typeof(settings) = 'object'),
    add column paired_at   timestamptz,
    add column restriction jsonb check (restriction ?& array['kind', 'since', 'until', 'strikes']);
comment on column bridge.instance.paired_at is 'When the device was linked: a fresh one begins slowly. Stays when it is lost.';
comment on column bridge.instance.restriction is 'Times are seconds since 1970. Null: none, or the last one was overcome.';

update bridge.instance set paired_at = created_at where jid is not null;
