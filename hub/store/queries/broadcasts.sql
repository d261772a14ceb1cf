-- Broadcasts: committed with their audience, then told to it in chunks.

-- name: insert_broadcast
INSERT INTO broadcasts (tenant_id, "group", draft, created_by, created_by_key)
VALUES ($1, $3::text, $2::text::jsonb, $4, $5) RETURNING id;

-- name: insert_everyone
-- The next $4 of those who have an inbox, and keep it, above $3: how many, and the last.
WITH told AS (
    SELECT s.user_id FROM user_streams s
    WHERE s.tenant_id = $1 AND s.user_id > $3 AND s.erased_seq IS DISTINCT FROM s.head AND s.erasing_at IS NULL
    ORDER BY s.user_id LIMIT $4
),
written AS (
    INSERT INTO broadcast_audience (tenant_id, broadcast_id, user_id) SELECT $1, $2, told.user_id FROM told
)
SELECT count(*)::int AS count, max(user_id) AS last FROM told;

-- name: insert_members
-- The same of the members of a group ($5).
WITH told AS (
    SELECT m.user_id FROM group_members m
    WHERE m.tenant_id = $1 AND m.group_name = $5 AND m.user_id > $3 ORDER BY m.user_id LIMIT $4
),
written AS (
    INSERT INTO broadcast_audience (tenant_id, broadcast_id, user_id) SELECT $1, $2, told.user_id FROM told
)
SELECT count(*)::int AS count, max(user_id) AS last FROM told;

-- name: set_audience
UPDATE broadcasts SET audience = $3, completed_at = CASE WHEN $3 = 0 THEN clock_timestamp() END
WHERE tenant_id = $1 AND id = $2;

-- name: claim_broadcast
-- Whether no other worker has it in hand; the lock is advisory, and ends with the transaction.
SELECT pg_try_advisory_xact_lock(hashtextextended($1 || ':' || $2::bigint, 11));

-- name: read_waiting
-- The next chunk, ascending (law 2); no lock yet.
SELECT user_id FROM broadcast_audience
WHERE tenant_id = $1 AND broadcast_id = $2 AND fanned_out_at IS NULL ORDER BY user_id LIMIT $3;

-- name: read_open
-- What is to be told, unless it was withdrawn; one who withdraws waits until this chunk is committed, and sees it.
SELECT draft::text FROM broadcasts
WHERE tenant_id = $1 AND id = $2 AND completed_at IS NULL AND withdrawn_at IS NULL FOR NO KEY UPDATE;

-- name: take_waiting
-- Under the locks of their streams: whoever is answered is told by this transaction, and by no other.
UPDATE broadcast_audience SET fanned_out_at = clock_timestamp()
WHERE tenant_id = $1 AND broadcast_id = $2 AND user_id = ANY($3::bigint[]) AND fanned_out_at IS NULL
RETURNING user_id;

-- name: complete_broadcast
UPDATE broadcasts SET completed_at = clock_timestamp() WHERE tenant_id = $1 AND id = $2 AND completed_at IS NULL
  AND NOT EXISTS (SELECT FROM broadcast_audience a
                  WHERE a.tenant_id = $1 AND a.broadcast_id = $2 AND a.fanned_out_at IS NULL);

-- name: stop_broadcast
UPDATE broadcasts SET withdrawn_at = clock_timestamp()
WHERE tenant_id = $1 AND id = $2 AND withdrawn_at IS NULL
  AND created_by IS NOT DISTINCT FROM $3::bigint AND created_by_key IS NOT DISTINCT FROM $4::bigint
RETURNING id;

-- name: read_broadcast
SELECT b.id AS broadcast_id, b."group", b.created_by,
    (SELECT p.display_name FROM people p WHERE p.tenant_id = $1 AND p.user_id = b.created_by) AS created_by_name,
    b.created_at, b.completed_at, b.withdrawn_at, b.audience,
    (SELECT count(*)::int FROM broadcast_audience a
     WHERE a.tenant_id = $1 AND a.broadcast_id = $2 AND a.fanned_out_at IS NOT NULL) AS told,
    n.delivered, n.seen, n.read
FROM broadcasts b, LATERAL (
    SELECT count(*) FILTER (WHERE n.is_seen OR n.is_read OR s.delivered_seq >= n.live_seq)::int AS delivered,
        count(*) FILTER (WHERE n.is_seen)::int AS seen, count(*) FILTER (WHERE n.is_read)::int AS read
    FROM notifications n JOIN user_streams s ON s.tenant_id = $1 AND s.user_id = n.user_id
    WHERE n.tenant_id = $1 AND n.broadcast_id = $2
) n
WHERE b.tenant_id = $1 AND b.id = $2;

-- name: read_unread_audience
-- Who has not read it, after $3, ascending: those not told yet, and those whose own is unread.
SELECT a.user_id, p.display_name
FROM broadcast_audience a LEFT JOIN people p ON p.tenant_id = $1 AND p.user_id = a.user_id
WHERE a.tenant_id = $1 AND a.broadcast_id = $2 AND a.user_id > $3
  AND (a.fanned_out_at IS NULL OR EXISTS (
      SELECT FROM notifications n
      WHERE n.tenant_id = $1 AND n.broadcast_id = $2 AND n.user_id = a.user_id AND NOT n.is_read))
ORDER BY a.user_id LIMIT $4 OFFSET $5;

-- name: count_unread_audience
SELECT count(*)::int FROM broadcast_audience a
WHERE a.tenant_id = $1 AND a.broadcast_id = $2
  AND (a.fanned_out_at IS NULL OR EXISTS (
      SELECT FROM notifications n
      WHERE n.tenant_id = $1 AND n.broadcast_id = $2 AND n.user_id = a.user_id AND NOT n.is_read));
