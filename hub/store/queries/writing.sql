-- What is new in a transaction.

-- name: write_new
-- New rows ($3) with their planned deliveries ($4), the events of the transaction ($5 to $11), where they leave their
-- streams ($12 to $19), whose rows are locked, and the trail ($20): in one statement, since each trip costs a wait for
-- the loop as well as for PostgreSQL.
WITH rows AS (
    INSERT INTO notifications (
        id, tenant_id, user_id, type, title, message, priority, category, is_seen, is_read, read_at, action_url,
        is_archived, archived_at, expires_at, deliver_at, held_until, related_entity_type, related_entity_id, data,
        collapse_key, created_by, created_at, updated_at, state, live_seq, hold_reason, snoozed_until, due_at,
        broadcast_id, created_by_key)
    SELECT id, tenant_id, user_id, type, title, message, priority, category, is_seen, is_read, read_at, action_url,
        is_archived, archived_at, expires_at, deliver_at, held_until, related_entity_type, related_entity_id, data,
        collapse_key, created_by, created_at, updated_at, state, live_seq, hold_reason, snoozed_until, due_at,
        broadcast_id, created_by_key
    FROM jsonb_populate_recordset(NULL::notifications, $3::text::jsonb)
),
deliveries AS (
    INSERT INTO notification_delivery (
        tenant_id, notification_id, user_id, channel, status, reason, not_before, sent_at, created_at, updated_at)
    SELECT $1, d.notification_id, d.user_id, d.channel, d.status, d.reason, d.not_before, d.sent_at, $2, $2
    FROM jsonb_to_recordset($4::text::jsonb) AS d (
        notification_id bigint, user_id bigint, channel text, status text, reason text, not_before timestamptz,
        sent_at timestamptz)
),
appended AS (
    INSERT INTO events (tenant_id, user_id, seq, kind, lane, rings, released, at, tail)
    SELECT $1, e.user_id, e.seq, e.kind, e.lane, e.rings, e.released, $2, e.tail
    FROM unnest($5::bigint[], $6::bigint[], $7::text[], $8::smallint[], $9::boolean[], $10::boolean[], $11::bytea[])
        AS e (user_id, seq, kind, lane, rings, released, tail)
),
moved AS (
    UPDATE user_streams s
    SET head = n.head, unread = n.unread, unseen = n.unseen, unread_critical = n.critical, unread_high = n.high,
        unread_normal = n.normal, unread_low = n.low
    FROM unnest($12::bigint[], $13::bigint[], $14::int[], $15::int[], $16::int[], $17::int[], $18::int[], $19::int[])
        AS n (user_id, head, unread, unseen, critical, high, normal, low)
    WHERE s.tenant_id = $1 AND s.user_id = n.user_id
)
INSERT INTO audit_log (
    tenant_id, actor_id, actor_key_id, actor_role, action, entity_type, entity_id, changes, request_id, address)
SELECT $1, a.actor_id, a.actor_key_id, a.actor_role, a.action, a.entity_type, a.entity_id, a.changes, a.request_id, a.address
FROM jsonb_to_recordset($20::text::jsonb) AS a (
    actor_id bigint, actor_key_id bigint, actor_role text, action text, entity_type text, entity_id text,
    changes jsonb, request_id text, address text);
