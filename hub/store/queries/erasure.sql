-- Forgetting a person, and showing what is known of one. $1 is the tenant, $2 the user.

-- name: find_tasks_of
-- Tasks that this user is on or made, ascending, a bounded set; locked, for tasks come before streams.
SELECT t.id FROM tasks t
WHERE t.tenant_id = $1 AND t.id IN (
    SELECT a.id FROM tasks a WHERE a.tenant_id = $1 AND a.assigned_to = $2
    UNION SELECT c.id FROM tasks c WHERE c.tenant_id = $1 AND c.created_by = $2
    UNION SELECT s.task_id FROM task_assignments s WHERE s.tenant_id = $1 AND s.user_id = $2)
ORDER BY t.id LIMIT $3 FOR UPDATE;

-- name: read_people_on
-- Who is on locked tasks ($3), but this user.
SELECT on_it.task_id, on_it.user_id FROM (
    SELECT t.id AS task_id, u.user_id FROM tasks t, LATERAL (VALUES (t.assigned_to), (t.created_by)) AS u (user_id)
    WHERE t.tenant_id = $1 AND t.id = ANY($3::bigint[])
    UNION
    SELECT a.task_id, a.user_id FROM task_assignments a WHERE a.tenant_id = $1 AND a.task_id = ANY($3::bigint[])
) on_it WHERE on_it.user_id <> $2;

-- name: leave_tasks
-- What is assigned to this user waits to be claimed again.
WITH gone AS (
    DELETE FROM task_assignments a WHERE a.tenant_id = $1 AND a.task_id = ANY($3::bigint[]) AND a.user_id = $2
)
UPDATE tasks t
SET assigned_to = nullif(t.assigned_to, $2), created_by = nullif(t.created_by, $2), version = t.version + 1,
    updated_at = clock_timestamp()
WHERE t.tenant_id = $1 AND t.id = ANY($3::bigint[])
RETURNING to_json(t)::text;

-- name: find_told_by
-- Users after $3, ascending, whom this one has told something.
SELECT DISTINCT n.user_id FROM notifications n
WHERE n.tenant_id = $1 AND n.created_by = $2 AND n.user_id > $3 AND n.user_id <> $2 ORDER BY n.user_id LIMIT $4;

-- name: forget_author
-- Of locked users ($3). Key 0 is nobody's: else a service without a user would seem to have made them.
UPDATE notifications n SET created_by = NULL, created_by_key = coalesce(n.created_by_key, 0)
WHERE n.tenant_id = $1 AND n.created_by = $2 AND n.user_id = ANY($3::bigint[]);

-- name: erase_events
DELETE FROM events WHERE tenant_id = $1 AND user_id = $2;

-- name: erase_logs
-- That a message was sent stays in the figures; to whom, and what it said, does not.
UPDATE communication_logs
SET user_id = NULL, recipient = NULL, subject = NULL, body = NULL, response = NULL, error = NULL,
    external_message_id = NULL, updated_at = clock_timestamp()
WHERE tenant_id = $1 AND user_id = $2;

-- name: erase_notifications
-- Their deliveries go with them.
DELETE FROM notifications WHERE tenant_id = $1 AND user_id = $2;

-- name: erase_preferences
DELETE FROM notification_preferences WHERE tenant_id = $1 AND user_id = $2;

-- name: erase_contacts
DELETE FROM contacts WHERE tenant_id = $1 AND user_id = $2;

-- name: erase_push_subscriptions
DELETE FROM push_subscriptions WHERE tenant_id = $1 AND user_id = $2;

-- name: erase_person
DELETE FROM people WHERE tenant_id = $1 AND user_id = $2;

-- name: erase_memberships
DELETE FROM group_members WHERE tenant_id = $1 AND user_id = $2;

-- name: erase_audience
DELETE FROM broadcast_audience WHERE tenant_id = $1 AND user_id = $2;

-- name: erase_keys
DELETE FROM idempotency_keys WHERE tenant_id = $1 AND user_id = $2;

-- name: find_answers
-- Kept answers, a page by their key after ($3 to $6), each with whether it tells of this user.
SELECT k.user_id, k.method, k.path, k.key,
    position(convert_to('"user_id":' || $2::bigint || ',', 'UTF8') IN k.answer) > 0
    OR position(convert_to('"user_id":' || $2::bigint || '}', 'UTF8') IN k.answer) > 0 AS tells
FROM idempotency_keys k
WHERE k.tenant_id = $1 AND (k.user_id, k.method, k.path, k.key) > ($3, $4, $5, $6)
ORDER BY k.user_id, k.method, k.path, k.key LIMIT $7;

-- name: blank_answer
-- The key stays, so that nothing is done twice; its content goes.
UPDATE idempotency_keys SET answer = '{}'
WHERE tenant_id = $1 AND user_id = $2 AND method = $3 AND path = $4 AND key = $5 AND answer IS NOT NULL;

-- name: leave_broadcasts
UPDATE broadcasts SET created_by = NULL, created_by_key = coalesce(created_by_key, 0),
    draft = draft || jsonb_build_object('created_by', NULL, 'created_by_key', coalesce(created_by_key, 0))
WHERE tenant_id = $1 AND created_by = $2;

-- name: leave_comments
UPDATE task_comments SET user_id = NULL WHERE tenant_id = $1 AND user_id = $2;

-- name: leave_assigned
UPDATE task_assignments SET assigned_by = NULL WHERE tenant_id = $1 AND assigned_by = $2;

-- name: leave_history
UPDATE task_history SET actor_id = NULL WHERE tenant_id = $1 AND actor_id = $2;

-- name: leave_templates
UPDATE communication_templates SET created_by = NULL WHERE tenant_id = $1 AND created_by = $2;

-- name: leave_template_versions
UPDATE template_versions SET created_by = NULL WHERE tenant_id = $1 AND created_by = $2;

-- name: leave_webhooks
UPDATE webhooks SET created_by = NULL WHERE tenant_id = $1 AND created_by = $2;

-- name: leave_api_keys
UPDATE api_keys SET created_by = NULL WHERE tenant_id = $1 AND created_by = $2;

-- name: mark_erased
UPDATE user_streams SET erased_seq = $3 WHERE tenant_id = $1 AND user_id = $2;

-- name: export_person
SELECT to_json(p) FROM people p WHERE p.tenant_id = $1 AND p.user_id = $2 LIMIT $3;

-- name: export_preferences
SELECT to_json(p) FROM notification_preferences p WHERE p.tenant_id = $1 AND p.user_id = $2 LIMIT $3;

-- name: export_contacts
SELECT to_json(c) FROM contacts c WHERE c.tenant_id = $1 AND c.user_id = $2 LIMIT $3;

-- name: export_push_subscriptions
SELECT json_build_object('id', s.id, 'endpoint', s.endpoint, 'created_at', s.created_at, 'last_used_at', s.last_used_at)
FROM push_subscriptions s WHERE s.tenant_id = $1 AND s.user_id = $2 LIMIT $3;

-- name: export_groups
SELECT json_build_object('name', m.group_name, 'created_at', m.created_at)
FROM group_members m WHERE m.tenant_id = $1 AND m.user_id = $2 LIMIT $3;

-- name: export_notifications
SELECT to_json(n) FROM notifications n WHERE n.tenant_id = $1 AND n.user_id = $2
ORDER BY n.created_at DESC, n.id DESC LIMIT $3;

-- name: export_communication_logs
SELECT to_json(l) FROM communication_logs l WHERE l.tenant_id = $1 AND l.user_id = $2
ORDER BY l.created_at DESC, l.id DESC LIMIT $3;

-- name: export_tasks
SELECT to_json(t) FROM tasks t
WHERE t.tenant_id = $1 AND t.id IN (
    SELECT a.id FROM tasks a WHERE a.tenant_id = $1 AND a.assigned_to = $2
    UNION SELECT c.id FROM tasks c WHERE c.tenant_id = $1 AND c.created_by = $2)
ORDER BY t.id DESC LIMIT $3;

-- name: export_task_assignments
SELECT to_json(a) FROM task_assignments a WHERE a.tenant_id = $1 AND a.user_id = $2 ORDER BY a.task_id DESC LIMIT $3;

-- name: export_task_comments
SELECT to_json(c) FROM task_comments c WHERE c.tenant_id = $1 AND c.user_id = $2 ORDER BY c.id DESC LIMIT $3;

-- name: export_deeds
SELECT to_json(a) FROM audit_log a WHERE a.tenant_id = $1 AND a.actor_id = $2 ORDER BY a.id DESC LIMIT $3;
