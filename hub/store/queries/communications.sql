-- The log of what was sent outside.

-- name: read_logs
-- Newest first, of a span of time. Null filters ask nothing; ($10, $11) is the last one of the page before.
-- What has an index of its own has a statement of its own below.
SELECT to_json(l)::text FROM communication_logs l
WHERE l.tenant_id = $1 AND l.created_at >= $2::timestamptz AND l.created_at < $3::timestamptz
  AND ($4::text[] IS NULL OR l.channel = ANY($4)) AND ($5::text[] IS NULL OR l.status = ANY($5))
  AND ($6::bigint IS NULL OR l.user_id = $6) AND ($7::bigint IS NULL OR l.template_id = $7)
  AND ($8::bigint IS NULL OR l.notification_id = $8) AND ($9::text IS NULL OR l.recipient = $9)
  AND (l.created_at, l.id) < ($10::timestamptz, $11::bigint)
ORDER BY l.created_at DESC, l.id DESC LIMIT $12 OFFSET $13;

-- name: read_logs_of_user
SELECT to_json(l)::text FROM communication_logs l
WHERE l.tenant_id = $1 AND l.created_at >= $2::timestamptz AND l.created_at < $3::timestamptz
  AND ($4::text[] IS NULL OR l.channel = ANY($4)) AND ($5::text[] IS NULL OR l.status = ANY($5))
  AND l.user_id = $6::bigint AND ($7::bigint IS NULL OR l.template_id = $7)
  AND ($8::bigint IS NULL OR l.notification_id = $8) AND ($9::text IS NULL OR l.recipient = $9)
  AND (l.created_at, l.id) < ($10::timestamptz, $11::bigint)
ORDER BY l.created_at DESC, l.id DESC LIMIT $12 OFFSET $13;

-- name: read_logs_of_notification
SELECT to_json(l)::text FROM communication_logs l
WHERE l.tenant_id = $1 AND l.created_at >= $2::timestamptz AND l.created_at < $3::timestamptz
  AND ($4::text[] IS NULL OR l.channel = ANY($4)) AND ($5::text[] IS NULL OR l.status = ANY($5))
  AND ($6::bigint IS NULL OR l.user_id = $6) AND ($7::bigint IS NULL OR l.template_id = $7)
  AND l.notification_id = $8::bigint AND ($9::text IS NULL OR l.recipient = $9)
  AND (l.created_at, l.id) < ($10::timestamptz, $11::bigint)
ORDER BY l.created_at DESC, l.id DESC LIMIT $12 OFFSET $13;

-- name: count_logs
SELECT count(*)::int FROM communication_logs l
WHERE l.tenant_id = $1 AND l.created_at >= $2::timestamptz AND l.created_at < $3::timestamptz
  AND ($4::text[] IS NULL OR l.channel = ANY($4)) AND ($5::text[] IS NULL OR l.status = ANY($5))
  AND ($6::bigint IS NULL OR l.user_id = $6) AND ($7::bigint IS NULL OR l.template_id = $7)
  AND ($8::bigint IS NULL OR l.notification_id = $8) AND ($9::text IS NULL OR l.recipient = $9);

-- name: read_log
SELECT to_json(l)::text FROM communication_logs l WHERE l.tenant_id = $1 AND l.id = $2;

-- name: read_log_stats
-- What became of what was written in a span of time, by channel and template. `sent`: has left; what was delivered,
-- opened, clicked or answered had been; what was answered had been delivered, whatever its provider said.
-- Templates are named after the counting.
WITH counted AS (
    SELECT l.channel, l.template_id, count(*)::int AS messages,
        (count(*) FILTER (WHERE l.sent_at IS NOT NULL OR l.status IN ('sent', 'delivered', 'bounced', 'answered')))::int AS sent,
        (count(*) FILTER (WHERE l.delivered_at IS NOT NULL OR l.status IN ('delivered', 'answered')))::int AS delivered,
        (count(*) FILTER (WHERE l.status = 'bounced'))::int AS bounced,
        (count(*) FILTER (WHERE l.status = 'failed'))::int AS failed,
        (count(*) FILTER (WHERE l.open_count > 0))::int AS opened,
        (count(*) FILTER (WHERE l.click_count > 0))::int AS clicked,
        (count(*) FILTER (WHERE l.responded_at IS NOT NULL OR l.status = 'answered'))::int AS answered
    FROM communication_logs l
    WHERE l.tenant_id = $1 AND l.created_at >= $2::timestamptz AND l.created_at < $3::timestamptz
      AND ($4::text[] IS NULL OR l.channel = ANY($4))
    GROUP BY l.channel, l.template_id
)
SELECT c.channel, c.template_id, t.name AS template_name, c.messages, c.sent, c.delivered, c.bounced, c.failed,
    c.opened, c.clicked, c.answered
FROM counted c LEFT JOIN communication_templates t ON t.tenant_id = $1 AND t.id = c.template_id
ORDER BY c.channel, c.template_id NULLS FIRST;
