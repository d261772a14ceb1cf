-- name: change_notifications
-- What may change of a row once it is written, and with it what becomes of its deliveries: $3 new states of
-- single ones, $4 those read (e-mail and SMS are needless), $5 and $6 those cancelled whole, with the reason.
-- The ids of all of them stand beside as $8: by these the rows are found, whatever the planner thinks of JSON.
WITH changed AS (
    UPDATE notifications n
    SET is_seen = c.is_seen, is_read = c.is_read, read_at = c.read_at, is_archived = c.is_archived,
        archived_at = c.archived_at, held_until = c.held_until, updated_at = c.updated_at, state = c.state,
        live_seq = c.live_seq, hold_reason = c.hold_reason, snoozed_until = c.snoozed_until, due_at = c.due_at
    FROM jsonb_to_recordset($2::text::jsonb) AS c (
        id bigint, is_seen boolean, is_read boolean, read_at timestamptz, is_archived boolean,
        archived_at timestamptz, held_until timestamptz, updated_at timestamptz, state text, live_seq bigint,
        hold_reason text, snoozed_until timestamptz, due_at timestamptz)
    WHERE n.tenant_id = $1 AND n.id = ANY($8::bigint[]) AND n.id = c.id
),
delivered AS (
    UPDATE notification_delivery d
    SET status = c.status, reason = c.reason, not_before = c.not_before, has_waited = c.has_waited,
        sent_at = coalesce(c.sent_at, d.sent_at), updated_at = $7
    FROM jsonb_to_recordset($3::text::jsonb) AS c (
        notification_id bigint, channel text, status text, reason text, not_before timestamptz, sent_at timestamptz,
        has_waited boolean)
    WHERE d.tenant_id = $1 AND d.notification_id = ANY($8::bigint[])
      AND d.notification_id = c.notification_id AND d.channel = c.channel
      -- Cancelled below by the same change: one statement may update a row but once.
      AND NOT (d.channel <> 'in_app' AND d.notification_id = ANY($5::bigint[]))
)
UPDATE notification_delivery d
SET status = 'cancelled', reason = c.reason, not_before = NULL, updated_at = $7
FROM (
    SELECT id, reason FROM unnest($5::bigint[], $6::text[]) AS whole (id, reason)
    UNION ALL
    SELECT id, 'read' FROM unnest($4::bigint[]) AS read (id) WHERE id <> ALL($5::bigint[])
) AS c
WHERE d.tenant_id = $1 AND d.notification_id = ANY($8::bigint[]) AND d.notification_id = c.id AND d.status IN ('planned', 'held') AND d.channel <> 'in_app'
  AND (d.channel IN ('email', 'sms') OR d.notification_id = ANY($5::bigint[]));

-- name: delete_notifications
-- Their deliveries go with them.
DELETE FROM notifications WHERE tenant_id = $1 AND id = ANY($2::bigint[]);

-- name: read_rows
-- These users', by ids, whatever their state; under the users' locks.
SELECT to_json(n)::text FROM notifications n
WHERE n.tenant_id = $1 AND n.user_id = ANY($2::bigint[]) AND n.id = ANY($3::bigint[]);

-- name: read_row
SELECT to_json(n)::text FROM notifications n WHERE n.tenant_id = $1 AND n.id = $2;

-- name: read_due
-- Held ones whose hold may be over, the most urgent first, oldest first within a priority.
SELECT to_json(n)::text FROM notifications n
WHERE n.tenant_id = $1 AND n.user_id = ANY($2::bigint[]) AND n.state = 'held' AND n.due_at <= clock_timestamp()
ORDER BY array_position(ARRAY['critical', 'high', 'normal', 'low'], n.priority::text), n.created_at, n.id
LIMIT $3;

-- name: read_held
-- All that waits of one user, in the order in which it would go.
SELECT to_json(n)::text FROM notifications n
WHERE n.tenant_id = $1 AND n.user_id = $2 AND n.state = 'held'
ORDER BY array_position(ARRAY['critical', 'high', 'normal', 'low'], n.priority::text), n.created_at, n.id
LIMIT $3;

-- name: mark_held_due
-- What a bounded re-judging left over is asked about by the next release.
UPDATE notifications n SET due_at = clock_timestamp()
WHERE n.tenant_id = $1 AND n.user_id = $2 AND n.state = 'held' AND n.id <> ALL($3::bigint[]);

-- name: read_expiring
SELECT to_json(n)::text FROM notifications n
WHERE n.tenant_id = $1 AND n.user_id = ANY($2::bigint[]) AND n.state <> 'expired'
  AND n.expires_at <= clock_timestamp()
ORDER BY n.expires_at, n.id
LIMIT $3;

-- name: mark_all_read
-- All of one user's that is live and unread up to $3; answers what that takes from the counts. The row lock of the
-- stream is held, so what `before` saw is what is updated. No joins: a plan that was kept from when the tables held
-- a few rows would go through all of them for each row, as it did for a new hub's first minute.
WITH before AS MATERIALIZED (
    SELECT priority, is_archived, is_seen FROM notifications
    WHERE tenant_id = $1 AND user_id = $2 AND state = 'live' AND NOT is_read AND live_seq <= $3
),
touched AS (
    UPDATE notifications
    SET is_read = true, read_at = $4, is_seen = true, updated_at = $4
    WHERE tenant_id = $1 AND user_id = $2 AND state = 'live' AND NOT is_read AND live_seq <= $3
    RETURNING id, priority
),
cancelled AS (
    UPDATE notification_delivery
    SET status = 'cancelled', reason = 'read', not_before = NULL, updated_at = $4
    WHERE tenant_id = $1 AND notification_id = ANY(ARRAY(SELECT id FROM touched WHERE priority <> 'critical'))
      AND channel IN ('email', 'sms') AND status IN ('planned', 'held')
)
SELECT priority, count(*)::int AS rows, (count(*) FILTER (WHERE NOT is_archived))::int AS unread,
    (count(*) FILTER (WHERE NOT is_archived AND NOT is_seen))::int AS unseen
FROM before GROUP BY priority;

-- name: mark_all_seen
WITH touched AS (
    UPDATE notifications n
    SET is_seen = true, updated_at = $4
    WHERE n.tenant_id = $1 AND n.user_id = $2 AND n.state = 'live' AND NOT n.is_seen AND n.live_seq <= $3
    RETURNING n.priority, n.is_archived
)
SELECT priority, count(*)::int AS rows, 0 AS unread, (count(*) FILTER (WHERE NOT is_archived))::int AS unseen
FROM touched GROUP BY priority;

-- name: find_broadcast_users
-- Whose streams to lock for a withdrawal, in ascending order after $2, a bounded set; here by broadcast, below by
-- collapse key and by related entity. What its creator ($3 a user, $4 an API key) made, and no one else's.
SELECT DISTINCT n.user_id FROM notifications n
WHERE n.tenant_id = $1 AND n.user_id > $2 AND n.created_by IS NOT DISTINCT FROM $3::bigint
  AND n.created_by_key IS NOT DISTINCT FROM $4::bigint AND n.broadcast_id = $6::bigint
ORDER BY n.user_id LIMIT $5;

-- name: find_collapsing_users
SELECT DISTINCT n.user_id FROM notifications n
WHERE n.tenant_id = $1 AND n.user_id > $2 AND n.created_by IS NOT DISTINCT FROM $3::bigint
  AND n.created_by_key IS NOT DISTINCT FROM $4::bigint AND n.collapse_key = $6::text
ORDER BY n.user_id LIMIT $5;

-- name: find_related_users
SELECT DISTINCT n.user_id FROM notifications n
WHERE n.tenant_id = $1 AND n.user_id > $2 AND n.created_by IS NOT DISTINCT FROM $3::bigint
  AND n.created_by_key IS NOT DISTINCT FROM $4::bigint AND n.related_entity_type = $6::text AND n.related_entity_id = $7::text
ORDER BY n.user_id LIMIT $5;

-- name: read_withdrawn
-- The same rows again, under the locks of their users ($2).
SELECT to_json(n)::text FROM notifications n
WHERE n.tenant_id = $1 AND n.user_id = ANY($2::bigint[]) AND n.created_by IS NOT DISTINCT FROM $3::bigint
  AND n.created_by_key IS NOT DISTINCT FROM $4::bigint
  AND ($5::bigint IS NULL OR n.broadcast_id = $5) AND ($6::text IS NULL OR n.collapse_key = $6)
  AND ($7::text IS NULL OR (n.related_entity_type = $7 AND n.related_entity_id = $8::text))
ORDER BY n.user_id, n.id;

-- name: find_cleaned_users
-- Users after $2, ascending, who have something to clean up: older than $3 and read, archived or expired;
-- with $4 whatever it is; never what is held.
SELECT DISTINCT n.user_id FROM notifications n
WHERE n.tenant_id = $1 AND n.user_id > $2 AND n.created_at < $3 AND n.state <> 'held'
  AND ($4 OR n.is_read OR n.is_archived OR n.state = 'expired')
ORDER BY n.user_id LIMIT $5;

-- name: clean_up
-- Deletes that, of locked users; answers what it takes from each one's counts, by priority.
WITH gone AS (
    DELETE FROM notifications n
    WHERE n.tenant_id = $1 AND n.user_id = ANY($2::bigint[]) AND n.created_at < $3 AND n.state <> 'held'
      AND ($4 OR n.is_read OR n.is_archived OR n.state = 'expired')
    RETURNING n.user_id, n.priority, n.state = 'live' AND NOT n.is_archived AS counted, n.is_read, n.is_seen, n.state
)
SELECT user_id, priority, count(*)::int AS rows, (count(*) FILTER (WHERE state = 'live'))::int AS live,
    (count(*) FILTER (WHERE counted AND NOT is_read))::int AS unread,
    (count(*) FILTER (WHERE counted AND NOT is_seen))::int AS unseen
FROM gone GROUP BY user_id, priority ORDER BY user_id;

-- name: read_stats
-- One user's live ones.
SELECT json_build_object(
    'total', count(*),
    'read', count(*) FILTER (WHERE is_read),
    'unread_by_type', (
        SELECT coalesce(json_object_agg(t.type, t.unread), '{}') FROM (
            SELECT u.type, count(*) AS unread FROM notifications u
            WHERE u.tenant_id = $1 AND u.user_id = $2 AND u.state = 'live' AND NOT u.is_read AND NOT u.is_archived
            GROUP BY u.type) t),
    'median_read_s', percentile_cont(0.5) WITHIN GROUP (ORDER BY date_part('epoch', read_at - created_at))
        FILTER (WHERE is_read)
)::text
FROM notifications WHERE tenant_id = $1 AND user_id = $2 AND state = 'live';

-- name: read_days_ago
-- The database's clock decides what is old.
SELECT clock_timestamp() - make_interval(days => $1);
