-- What is set for a tenant, and the trail of what was done in it.

-- name: read_settings
SELECT json_build_object(
    'timezone', s.timezone, 'locale', s.locale, 'preferences', s.preferences, 'locked', s.locked,
    'reminder_minutes', s.reminder_minutes, 'retention', s.retention, 'throttles', s.throttles,
    'tracking', s.tracking, 'limits', s.limits)::text
FROM tenant_settings s WHERE s.tenant_id = $1;

-- name: lock_settings
-- The row that two changes wait for each other by; made where there is none.
INSERT INTO tenant_settings (tenant_id) VALUES ($1)
ON CONFLICT (tenant_id) DO UPDATE SET updated_at = tenant_settings.updated_at;

-- name: save_settings
UPDATE tenant_settings t
SET timezone = n.timezone, locale = n.locale, preferences = n.preferences, locked = n.locked,
    reminder_minutes = n.reminder_minutes, retention = n.retention, throttles = n.throttles,
    tracking = n.tracking, limits = n.limits, updated_at = clock_timestamp()
FROM jsonb_populate_record(NULL::tenant_settings, $2::text::jsonb) n
WHERE t.tenant_id = $1;

-- name: find_held_users
-- Users after $2, ascending, who have something that waits for quiet hours to end.
SELECT DISTINCT n.user_id FROM notifications n
WHERE n.tenant_id = $1 AND n.user_id > $2 AND n.state = 'held' AND n.hold_reason = 'quiet'
ORDER BY n.user_id LIMIT $3;

-- name: mark_quiet_due
-- Of locked users: what waits for quiet hours is judged again now.
UPDATE notifications n SET due_at = clock_timestamp()
WHERE n.tenant_id = $1 AND n.user_id = ANY($2::bigint[]) AND n.state = 'held' AND n.hold_reason = 'quiet';

-- name: read_trail
-- Newest first, of a span of time, whose ends are given always, so that it is a span of the index. Other filters that
-- are null ask nothing; ($8, $9) is the last one of the page before, $11 the rows to leave out. What has an index of its own has a statement of its own below.
SELECT a.id, a.at, a.actor_id, p.display_name AS actor_name, a.actor_key_id, a.actor_role, a.action, a.entity_type,
    a.entity_id, a.changes, a.request_id, a.address
FROM audit_log a LEFT JOIN people p ON p.tenant_id = $1 AND p.user_id = a.actor_id
WHERE a.tenant_id = $1 AND a.at >= $2::timestamptz AND a.at < $3::timestamptz
  AND ($4::bigint IS NULL OR a.actor_id = $4) AND ($5::text IS NULL OR a.action = $5)
  AND ($6::text IS NULL OR a.entity_type = $6) AND ($7::text IS NULL OR a.entity_id = $7)
  AND (a.at, a.id) < ($8::timestamptz, $9::bigint)
ORDER BY a.at DESC, a.id DESC LIMIT $10 OFFSET $11;

-- name: count_trail
SELECT count(*)::int FROM audit_log a
WHERE a.tenant_id = $1 AND a.at >= $2::timestamptz AND a.at < $3::timestamptz
  AND ($4::bigint IS NULL OR a.actor_id = $4) AND ($5::text IS NULL OR a.action = $5)
  AND ($6::text IS NULL OR a.entity_type = $6) AND ($7::text IS NULL OR a.entity_id = $7);

-- name: read_trail_of_actor
SELECT a.id, a.at, a.actor_id, p.display_name AS actor_name, a.actor_key_id, a.actor_role, a.action, a.entity_type,
    a.entity_id, a.changes, a.request_id, a.address
FROM audit_log a LEFT JOIN people p ON p.tenant_id = $1 AND p.user_id = a.actor_id
WHERE a.tenant_id = $1 AND a.at >= $2::timestamptz AND a.at < $3::timestamptz
  AND a.actor_id = $4::bigint AND ($5::text IS NULL OR a.action = $5)
  AND ($6::text IS NULL OR a.entity_type = $6) AND ($7::text IS NULL OR a.entity_id = $7)
  AND (a.at, a.id) < ($8::timestamptz, $9::bigint)
ORDER BY a.at DESC, a.id DESC LIMIT $10 OFFSET $11;

-- name: count_trail_of_actor
SELECT count(*)::int FROM audit_log a
WHERE a.tenant_id = $1 AND a.at >= $2::timestamptz AND a.at < $3::timestamptz
  AND a.actor_id = $4::bigint AND ($5::text IS NULL OR a.action = $5)
  AND ($6::text IS NULL OR a.entity_type = $6) AND ($7::text IS NULL OR a.entity_id = $7);

-- name: read_trail_of_action
SELECT a.id, a.at, a.actor_id, p.display_name AS actor_name, a.actor_key_id, a.actor_role, a.action, a.entity_type,
    a.entity_id, a.changes, a.request_id, a.address
FROM audit_log a LEFT JOIN people p ON p.tenant_id = $1 AND p.user_id = a.actor_id
WHERE a.tenant_id = $1 AND a.at >= $2::timestamptz AND a.at < $3::timestamptz
  AND ($4::bigint IS NULL OR a.actor_id = $4) AND a.action = $5::text
  AND ($6::text IS NULL OR a.entity_type = $6) AND ($7::text IS NULL OR a.entity_id = $7)
  AND (a.at, a.id) < ($8::timestamptz, $9::bigint)
ORDER BY a.at DESC, a.id DESC LIMIT $10 OFFSET $11;

-- name: count_trail_of_action
SELECT count(*)::int FROM audit_log a
WHERE a.tenant_id = $1 AND a.at >= $2::timestamptz AND a.at < $3::timestamptz
  AND ($4::bigint IS NULL OR a.actor_id = $4) AND a.action = $5::text
  AND ($6::text IS NULL OR a.entity_type = $6) AND ($7::text IS NULL OR a.entity_id = $7);

-- name: read_trail_of_entity
SELECT a.id, a.at, a.actor_id, p.display_name AS actor_name, a.actor_key_id, a.actor_role, a.action, a.entity_type,
    a.entity_id, a.changes, a.request_id, a.address
FROM audit_log a LEFT JOIN people p ON p.tenant_id = $1 AND p.user_id = a.actor_id
WHERE a.tenant_id = $1 AND a.at >= $2::timestamptz AND a.at < $3::timestamptz
  AND ($4::bigint IS NULL OR a.actor_id = $4) AND ($5::text IS NULL OR a.action = $5)
  AND a.entity_type = $6::text AND a.entity_id = $7::text
  AND (a.at, a.id) < ($8::timestamptz, $9::bigint)
ORDER BY a.at DESC, a.id DESC LIMIT $10 OFFSET $11;

-- name: count_trail_of_entity
SELECT count(*)::int FROM audit_log a
WHERE a.tenant_id = $1 AND a.at >= $2::timestamptz AND a.at < $3::timestamptz
  AND ($4::bigint IS NULL OR a.actor_id = $4) AND ($5::text IS NULL OR a.action = $5)
  AND a.entity_type = $6::text AND a.entity_id = $7::text;
