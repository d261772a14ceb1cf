-- Forgetting a person, and showing what is known of one. $1 is the tenant, $2 the user.
--
-- What is named erase_ or leave_ (but leave_tasks) takes at most $3 rows, and is asked again until it finds none.
-- What is named end_ is a few rows a person, and goes with the last part.

-- name: begin_erasing
-- Unless it has begun already.
UPDATE user_streams SET erasing_at = clock_timestamp()
WHERE tenant_id = $1 AND user_id = $2 AND erasing_at IS NULL RETURNING user_id;

-- name: go_on_erasing
-- Under the lock of their stream: nothing where another has finished it.
UPDATE user_streams SET erasing_at = clock_timestamp()
WHERE tenant_id = $1 AND user_id = $2 AND erasing_at IS NOT NULL RETURNING erasing_at;

-- name: take_erasing
-- One that nobody has gone on with for $3; nothing where another has it in hand.
UPDATE user_streams s SET erasing_at = clock_timestamp()
WHERE s.tenant_id = $1 AND s.user_id = (
    SELECT l.user_id FROM user_streams l
    WHERE l.tenant_id = $1 AND l.user_id = $2 AND l.erasing_at < clock_timestamp() - $3::interval
    FOR NO KEY UPDATE SKIP LOCKED)
RETURNING s.user_id;

-- name: find_tasks_of
-- Tasks that this user is on or made, whichever are found first, a bounded set; locked in ascending order, for tasks
-- come before streams.
SELECT t.id FROM tasks t
WHERE t.tenant_id = $1 AND t.id IN (
    (SELECT a.id FROM tasks a WHERE a.tenant_id = $1 AND a.assigned_to = $2 LIMIT $3)
    UNION (SELECT c.id FROM tasks c WHERE c.tenant_id = $1 AND c.created_by = $2 LIMIT $3)
    UNION (SELECT s.task_id FROM task_assignments s WHERE s.tenant_id = $1 AND s.user_id = $2 LIMIT $3))
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
-- At most $4 users, ascending, whom this one has told something, of a bounded number of rows ($3).
SELECT DISTINCT told.user_id FROM (
    SELECT n.user_id FROM notifications n
    WHERE n.tenant_id = $1 AND n.created_by = $2 AND n.user_id <> $2 ORDER BY n.user_id LIMIT $3
) told ORDER BY told.user_id LIMIT $4;

-- name: forget_author
-- At most $4 rows of locked users ($3). Key 0 is nobody's: else a service without a user would seem to have made them.
UPDATE notifications SET created_by = NULL, created_by_key = coalesce(created_by_key, 0)
WHERE tenant_id = $1 AND id = ANY(ARRAY(
    SELECT n.id FROM notifications n
    WHERE n.tenant_id = $1 AND n.created_by = $2 AND n.user_id = ANY($3::bigint[]) LIMIT $4));

-- name: is_on_others
-- Whether something is left that is shared with others whose locks it needs: tasks, and what this user told.
SELECT EXISTS (SELECT FROM tasks t WHERE t.tenant_id = $1 AND t.assigned_to = $2)
    OR EXISTS (SELECT FROM tasks t WHERE t.tenant_id = $1 AND t.created_by = $2)
    OR EXISTS (SELECT FROM task_assignments a WHERE a.tenant_id = $1 AND a.user_id = $2)
    OR EXISTS (SELECT FROM notifications n WHERE n.tenant_id = $1 AND n.created_by = $2 AND n.user_id <> $2);

-- name: erase_events
-- The oldest first, so that the log never has a hole: a device finds it shortened, as by retention.
DELETE FROM events WHERE tenant_id = $1 AND user_id = $2 AND seq <= (
    SELECT max(oldest.seq) FROM (
        SELECT e.seq FROM events e WHERE e.tenant_id = $1 AND e.user_id = $2 ORDER BY e.seq LIMIT $3) oldest);

-- name: erase_logs
-- That a message was sent stays in the figures; to whom, and what it said, does not.
UPDATE communication_logs
SET user_id = NULL, recipient = NULL, subject = NULL, body = NULL, response = NULL, error = NULL,
    external_message_id = NULL, updated_at = clock_timestamp()
WHERE tenant_id = $1 AND id = ANY(ARRAY(
    SELECT l.id FROM communication_logs l WHERE l.tenant_id = $1 AND l.user_id = $2 LIMIT $3));

-- name: erase_notifications
-- Their deliveries go with them.
DELETE FROM notifications WHERE tenant_id = $1 AND id = ANY(ARRAY(
    SELECT n.id FROM notifications n WHERE n.tenant_id = $1 AND n.user_id = $2 LIMIT $3));

-- name: erase_memberships
DELETE FROM group_members WHERE tenant_id = $1 AND user_id = $2 AND group_name = ANY(ARRAY(
    SELECT m.group_name FROM group_members m WHERE m.tenant_id = $1 AND m.user_id = $2 LIMIT $3));

-- name: erase_audience
DELETE FROM broadcast_audience WHERE tenant_id = $1 AND user_id = $2 AND broadcast_id = ANY(ARRAY(
    SELECT a.broadcast_id FROM broadcast_audience a WHERE a.tenant_id = $1 AND a.user_id = $2 LIMIT $3));

-- name: erase_keys
DELETE FROM idempotency_keys k
USING (SELECT o.method, o.path, o.key FROM idempotency_keys o WHERE o.tenant_id = $1 AND o.user_id = $2 LIMIT $3) own
WHERE k.tenant_id = $1 AND k.user_id = $2 AND (k.method, k.path, k.key) = (own.method, own.path, own.key);

-- name: leave_broadcasts
UPDATE broadcasts SET created_by = NULL, created_by_key = coalesce(created_by_key, 0),
    draft = draft || jsonb_build_object('created_by', NULL, 'created_by_key', coalesce(created_by_key, 0))
WHERE tenant_id = $1 AND id = ANY(ARRAY(
    SELECT b.id FROM broadcasts b WHERE b.tenant_id = $1 AND b.created_by = $2 LIMIT $3));

-- name: leave_comments
UPDATE task_comments SET user_id = NULL WHERE tenant_id = $1 AND id = ANY(ARRAY(
    SELECT c.id FROM task_comments c WHERE c.tenant_id = $1 AND c.user_id = $2 LIMIT $3));

-- name: leave_assigned
UPDATE task_assignments SET assigned_by = NULL WHERE tenant_id = $1 AND id = ANY(ARRAY(
    SELECT a.id FROM task_assignments a WHERE a.tenant_id = $1 AND a.assigned_by = $2 LIMIT $3));

-- name: leave_history
UPDATE task_history SET actor_id = NULL WHERE tenant_id = $1 AND id = ANY(ARRAY(
    SELECT h.id FROM task_history h WHERE h.tenant_id = $1 AND h.actor_id = $2 LIMIT $3));

-- name: leave_templates
UPDATE communication_templates SET created_by = NULL WHERE tenant_id = $1 AND id = ANY(ARRAY(
    SELECT c.id FROM communication_templates c WHERE c.tenant_id = $1 AND c.created_by = $2 LIMIT $3));

-- name: leave_template_versions
UPDATE template_versions SET created_by = NULL WHERE tenant_id = $1 AND (template_id, version) IN (
    SELECT v.template_id, v.version FROM template_versions v WHERE v.tenant_id = $1 AND v.created_by = $2 LIMIT $3);

-- name: leave_webhooks
UPDATE webhooks SET created_by = NULL WHERE tenant_id = $1 AND id = ANY(ARRAY(
    SELECT w.id FROM webhooks w WHERE w.tenant_id = $1 AND w.created_by = $2 LIMIT $3));

-- name: leave_api_keys
UPDATE api_keys SET created_by = NULL WHERE tenant_id = $1 AND id = ANY(ARRAY(
    SELECT k.id FROM api_keys k WHERE k.tenant_id = $1 AND k.created_by = $2 LIMIT $3));

-- name: end_preferences
DELETE FROM notification_preferences WHERE tenant_id = $1 AND user_id = $2;

-- name: end_contacts
DELETE FROM contacts WHERE tenant_id = $1 AND user_id = $2;

-- name: end_push_subscriptions
DELETE FROM push_subscriptions WHERE tenant_id = $1 AND user_id = $2;

-- name: end_person
DELETE FROM people WHERE tenant_id = $1 AND user_id = $2;

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

-- name: blank_recent_answers
-- The same for all that was kept since an instant ($3).
UPDATE idempotency_keys k SET answer = '{}'
WHERE k.tenant_id = $1 AND k.created_at >= $3
  AND (position(convert_to('"user_id":' || $2::bigint || ',', 'UTF8') IN k.answer) > 0
    OR position(convert_to('"user_id":' || $2::bigint || '}', 'UTF8') IN k.answer) > 0);

-- name: mark_erased
UPDATE user_streams SET erased_seq = $3, erasing_at = NULL WHERE tenant_id = $1 AND user_id = $2;

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
