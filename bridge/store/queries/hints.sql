-- name: listen
-- All hints come over one channel, with what they are about as the payload.
listen bridge_hint

-- name: notify
-- Several hints in one commit.
select pg_notify('bridge_hint', hint) from unnest(%(hints)s::text[]) as hint

-- name: ping
-- Finds out whether the server still answers.
select 1
