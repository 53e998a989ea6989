-- Sends that wait for their time, can be taken back, and whose way can be looked at afterwards.

alter table bridge.command
    add column send_at timestamptz,
    drop constraint command_state_check,
    add constraint command_state_check
        check (state in ('queued', 'running', 'sent', 'failed', 'unknown', 'cancelled'));
comment on column bridge.command.send_at is 'A queued command is not begun before this time; null: as soon as possible.';
create index command_failed on bridge.command (instance_key, id) where state = 'failed';

alter table bridge.message add column status_at jsonb not null default '{}';
comment on column bridge.message.status_at is
    'When the status rose, by WhatsApp''s clock: {"delivered": seconds since 1970, ...}. Beside the status, so that a receipt '
    'still writes one row.';
