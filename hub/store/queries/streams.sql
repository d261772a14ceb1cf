-- The users' streams: their counter rows and their events.

-- name: claim_users
-- Which of these users no other node's worker has in hand now. The lock is advisory, ends with the transaction,
-- and is between workers only: writers are waited for, in the queue of the stream's own lock.
SELECT user_id FROM unnest($2::bigint[]) AS u (user_id)
WHERE pg_try_advisory_xact_lock(hashtextextended($1 || ':' || user_id, 7));

-- name: lock_streams
-- Law 2: a statement of its own, ascending, before anything that decides is read.
SELECT user_id, head, unread, unseen, unread_critical, unread_high, unread_normal, unread_low
FROM hub_lock_streams($1, $2::bigint[], $3::bigint[]);

-- name: read_facts
-- What decides, in one statement after the lock: the clock and the epoch; for those who are told something ($3)
-- preferences and addresses; what newer ones of the keys ($4) would replace; fresh ids ($5); the heads of the
-- callers ($2), for `Hub-Position`; the names of authors ($6), for the answers.
SELECT json_build_object(
    'now', clock_timestamp(),
    'epoch', hub_epoch(),
    'heads', (
        SELECT coalesce(json_object_agg(s.user_id, s.head), '{}')
        FROM user_streams s WHERE s.tenant_id = $1 AND s.user_id = ANY($2::bigint[])),
    'tenant', (
        SELECT json_build_object('preferences', s.preferences, 'locked', s.locked, 'timezone', s.timezone, 'locale', s.locale)
        FROM tenant_settings s WHERE s.tenant_id = $1 AND cardinality($3::bigint[]) > 0),
    'preferences', (
        SELECT coalesce(json_agg(to_json(p)), '[]')
        FROM notification_preferences p WHERE p.tenant_id = $1 AND p.user_id = ANY($3::bigint[])),
    'reachable', (
        SELECT coalesce(json_agg(json_build_array(a.user_id, a.channel)), '[]') FROM (
            SELECT c.user_id, c.channel FROM contacts c
            WHERE c.tenant_id = $1 AND c.user_id = ANY($3::bigint[]) AND c.unsubscribed_at IS NULL
            UNION
            SELECT s.user_id, 'push' FROM push_subscriptions s
            WHERE s.tenant_id = $1 AND s.user_id = ANY($3::bigint[])) a),
    'unread', (
        SELECT coalesce(json_agg(to_json(n)), '[]') FROM notifications n
        WHERE n.tenant_id = $1 AND n.user_id = ANY($3::bigint[]) AND n.collapse_key = ANY($4::text[])
          AND n.collapse_key IS NOT NULL AND NOT n.is_read AND n.state IN ('live', 'held')),
    'names', (
        SELECT coalesce(json_object_agg(p.user_id, p.display_name), '{}') FROM people p
        WHERE p.tenant_id = $1 AND p.user_id = ANY($6::bigint[]) AND p.display_name IS NOT NULL),
    'ids', (SELECT coalesce(json_agg(nextval('public.notifications_id_seq')), '[]') FROM generate_series(1, $5::int))
)::text;

-- name: read_position
SELECT hub_epoch() AS epoch, coalesce((SELECT head FROM user_streams WHERE tenant_id = $1 AND user_id = $2), 0) AS head;

-- name: read_standing
SELECT e.epoch, s.head, s.unread, s.unseen, s.unread_critical, s.unread_high, s.unread_normal, s.unread_low,
    s.erasing_at IS NOT NULL AS is_erasing
FROM (SELECT hub_epoch() AS epoch) e LEFT JOIN user_streams s ON s.tenant_id = $1 AND s.user_id = $2;

-- name: read_states
-- Streams in one snapshot, in the order in which they were asked about; `resumable`: the cursor is the head, or the
-- event after it is kept.
SELECT (SELECT hub_epoch()) AS epoch,
    s.head, s.unread, s.unseen, s.unread_critical, s.unread_high, s.unread_normal, s.unread_low,
    s.erasing_at IS NOT NULL AS is_erasing,
    asked.cursor IS NOT NULL AND (asked.cursor = s.head OR (asked.cursor < s.head AND EXISTS (
        SELECT FROM events e
        WHERE e.tenant_id = $1 AND e.user_id = asked.user_id AND e.seq = asked.cursor + 1))) AS resumable
FROM unnest($2::bigint[], $3::bigint[]) WITH ORDINALITY AS asked (user_id, cursor, place)
JOIN user_streams s ON s.tenant_id = $1 AND s.user_id = asked.user_id
ORDER BY asked.place;

-- name: make_streams
-- In ascending order (law 2).
INSERT INTO user_streams (tenant_id, user_id)
SELECT $1, asked.user_id FROM unnest($2::bigint[]) AS asked (user_id) GROUP BY asked.user_id ORDER BY asked.user_id
ON CONFLICT DO NOTHING;

-- name: read_after
-- At most $4 events and, from the second on, no more than $5 bytes; with the stream's state of the same snapshot.
-- The running sum is over at most $4 rows of an index range.
SELECT hub_epoch() AS epoch,
    coalesce((SELECT head FROM user_streams WHERE tenant_id = $1 AND user_id = $2), 0) AS head,
    (SELECT coalesce(array_agg((p.seq, p.lane, p.rings, p.released, p.tail) ORDER BY p.seq), '{}') FROM (
        SELECT e.*, sum(length(e.tail)) OVER (ORDER BY e.seq) AS size, row_number() OVER (ORDER BY e.seq) AS place
        FROM (SELECT seq, lane, rings, released, tail FROM events
              WHERE tenant_id = $1 AND user_id = $2 AND seq > $3 ORDER BY seq LIMIT $4) e
    ) p WHERE p.size <= $5 OR p.place = 1) AS events;

-- name: read_critical_after
SELECT seq, lane, rings, released, tail FROM events
WHERE tenant_id = $1 AND user_id = $2 AND seq > $3 AND lane = 0 ORDER BY seq LIMIT $4;

-- name: sweep
-- Law 8, for all tenants at once: names of streams and their heads, never content.
SELECT hub_epoch() AS epoch, (
    SELECT coalesce(array_agg((m.tenant_id, m.user_id, m.head)), '{}')
    FROM hub_sweep($1::text[], $2::bigint[], $3::bigint[]) m) AS moved;

-- name: acknowledge
-- Never backwards, and never past what exists. Law 2 here too: locked in ascending order before any is changed.
UPDATE user_streams s SET delivered_seq = least(a.seq, s.head)
FROM (
    SELECT l.user_id, (SELECT max(u.seq) FROM unnest($2::bigint[], $3::bigint[]) AS u (user_id, seq)
                       WHERE u.user_id = l.user_id) AS seq
    FROM user_streams l WHERE l.tenant_id = $1 AND l.user_id = ANY($2::bigint[])
    ORDER BY l.user_id FOR NO KEY UPDATE
) a
WHERE s.tenant_id = $1 AND s.user_id = a.user_id AND s.delivered_seq < least(a.seq, s.head);
