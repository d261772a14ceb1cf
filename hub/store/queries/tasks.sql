-- Tasks, who is on them, what was said and done. Each statement takes sets, so that a batch costs the trips of one.

-- name: lock_tree
-- One a tenant at a time moves subtasks about: two that do so together could make a loop that neither sees.
SELECT pg_advisory_xact_lock(hashtextextended('hub tasks ' || $1::text, 0));

-- name: lock_tree_shared
-- While it is held nothing gets another parent.
SELECT pg_advisory_xact_lock_shared(hashtextextended('hub tasks ' || $1::text, 0));

-- name: lock_tasks
-- Ascending, before any stream.
SELECT t.id FROM tasks t WHERE t.tenant_id = $1 AND t.id = ANY($2::bigint[]) ORDER BY t.id FOR NO KEY UPDATE;

-- name: claim_due_tasks
-- Those that are due still, and that no other worker has in hand.
SELECT t.id FROM tasks t
WHERE t.tenant_id = $1 AND t.id = ANY($2::bigint[]) AND t.wake_at <= clock_timestamp()
ORDER BY t.id FOR NO KEY UPDATE SKIP LOCKED;

-- name: lock_reminded
-- A bounded part of the tasks that are reminded of before their due date, ascending after $2.
SELECT t.id FROM tasks t
WHERE t.tenant_id = $1 AND t.id > $2 AND t.wake_at < t.due_date
ORDER BY t.id LIMIT $3 FOR NO KEY UPDATE;

-- name: replan_tasks
UPDATE tasks t SET wake_at = p.wake_at FROM unnest($2::bigint[], $3::timestamptz[]) AS p (id, wake_at)
WHERE t.tenant_id = $1 AND t.id = p.id;

-- name: read_held
-- After the lock. Tasks, their assignments, the tenant's reminder_minutes, the clock, and ids for $3 new tasks.
SELECT json_build_object(
    'now', clock_timestamp(),
    'reminder_minutes', coalesce((SELECT s.reminder_minutes FROM tenant_settings s WHERE s.tenant_id = $1), 15),
    'ids', coalesce((SELECT json_agg(nextval(pg_get_serial_sequence('tasks', 'id'))) FROM generate_series(1, $3::int)), '[]'),
    'tasks', coalesce((SELECT json_agg(t) FROM tasks t WHERE t.tenant_id = $1 AND t.id = ANY($2::bigint[])), '[]'),
    'assignments', coalesce((SELECT json_agg(a) FROM task_assignments a
        WHERE a.tenant_id = $1 AND a.task_id = ANY($2::bigint[])), '[]')
)::text;

-- name: read_tree
-- Ids of all that is below these, at any depth, themselves not.
WITH RECURSIVE tree (id) AS (
    SELECT t.id FROM tasks t WHERE t.tenant_id = $1 AND t.parent_task_id = ANY($2::bigint[])
    UNION
    SELECT t.id FROM tree JOIN tasks t ON t.tenant_id = $1 AND t.parent_task_id = tree.id
)
SELECT tree.id, t.status FROM tree JOIN tasks t ON t.tenant_id = $1 AND t.id = tree.id ORDER BY tree.id LIMIT $3;

-- name: read_ancestors
-- (task, its parent) of these and of all above them.
WITH RECURSIVE above (id, parent) AS (
    SELECT t.id, t.parent_task_id FROM tasks t WHERE t.tenant_id = $1 AND t.id = ANY($2::bigint[])
    UNION
    SELECT t.id, t.parent_task_id FROM above JOIN tasks t ON t.tenant_id = $1 AND t.id = above.parent
)
SELECT id, parent FROM above;

-- name: insert_tasks
INSERT INTO tasks SELECT * FROM jsonb_populate_recordset(NULL::tasks, $1::text::jsonb);

-- name: update_tasks
UPDATE tasks t
SET assigned_to = c.assigned_to, lead_id = c.lead_id, parent_task_id = c.parent_task_id, "group" = c."group",
    title = c.title, description = c.description, priority = c.priority, status = c.status,
    overdue_from = c.overdue_from, overdue_for = c.overdue_for, wake_at = c.wake_at, task_type = c.task_type,
    due_date = c.due_date, scheduled_at = c.scheduled_at, completed_at = c.completed_at,
    cancelled_at = c.cancelled_at, progress_percentage = c.progress_percentage,
    estimated_duration_min = c.estimated_duration_min, actual_duration_min = c.actual_duration_min, tags = c.tags,
    version = c.version, updated_at = c.updated_at
FROM jsonb_populate_recordset(NULL::tasks, $3::text::jsonb) AS c
WHERE t.tenant_id = $1 AND t.id = ANY($2::bigint[]) AND t.id = c.id;

-- name: delete_tasks
DELETE FROM tasks WHERE tenant_id = $1 AND id = ANY($2::bigint[]);

-- name: save_assignments
INSERT INTO task_assignments (
    tenant_id, task_id, user_id, role, responsibility_percentage, assigned_by, assigned_at, accepted_at, declined_at,
    completed_at)
SELECT $1, a.task_id, a.user_id, a.role, a.responsibility_percentage, a.assigned_by, a.assigned_at, a.accepted_at,
    a.declined_at, a.completed_at
FROM jsonb_to_recordset($2::text::jsonb) AS a (
    task_id bigint, user_id bigint, role text, responsibility_percentage smallint, assigned_by bigint,
    assigned_at timestamptz, accepted_at timestamptz, declined_at timestamptz, completed_at timestamptz)
ON CONFLICT (tenant_id, task_id, user_id) DO UPDATE SET
    role = excluded.role, responsibility_percentage = excluded.responsibility_percentage,
    assigned_by = excluded.assigned_by, assigned_at = excluded.assigned_at, accepted_at = excluded.accepted_at,
    declined_at = excluded.declined_at, completed_at = excluded.completed_at;

-- name: delete_assignments
DELETE FROM task_assignments a USING unnest($2::bigint[], $3::bigint[]) AS gone (task_id, user_id)
WHERE a.tenant_id = $1 AND a.task_id = gone.task_id AND a.user_id = gone.user_id;

-- name: insert_history
INSERT INTO task_history (tenant_id, task_id, at, actor_id, actor_role, action, version, changes)
SELECT $1, h.task_id, $3, h.actor_id, h.actor_role, h.action, h.version, h.changes
FROM jsonb_to_recordset($2::text::jsonb)
    AS h (task_id bigint, action text, version bigint, changes jsonb, actor_id bigint, actor_role text);

-- name: insert_comment
INSERT INTO task_comments (tenant_id, task_id, user_id, comment, attachment_urls, created_at, updated_at)
VALUES ($1, $2, $3, $4, $5, $6, $6) RETURNING id;

-- name: update_comment
UPDATE task_comments SET comment = $3, attachment_urls = $4, updated_at = $5 WHERE tenant_id = $1 AND id = $2;

-- name: delete_comment
DELETE FROM task_comments WHERE tenant_id = $1 AND id = $2;

-- name: read_comment
SELECT to_json(c)::text FROM task_comments c WHERE c.tenant_id = $1 AND c.task_id = $2 AND c.id = $3;

-- name: read_comments
-- Oldest first.
SELECT to_json(c)::text FROM task_comments c
WHERE c.tenant_id = $1 AND c.task_id = $2 AND (c.created_at, c.id) > (coalesce($3::timestamptz, '-infinity'), coalesce($4::bigint, 0))
ORDER BY c.created_at, c.id LIMIT $5 OFFSET $6;

-- name: count_comments
SELECT count(*) FROM task_comments c WHERE c.tenant_id = $1 AND c.task_id = $2;

-- name: read_assignments
SELECT to_json(a)::text FROM task_assignments a WHERE a.tenant_id = $1 AND a.task_id = $2 ORDER BY a.assigned_at, a.user_id;

-- name: read_history
-- Newest first.
SELECT json_build_object('id', h.id, 'task_id', h.task_id, 'at', h.at, 'actor_id', h.actor_id, 'actor_role', h.actor_role,
    'action', h.action, 'version', h.version, 'changes', h.changes)::text
FROM task_history h
WHERE h.tenant_id = $1 AND h.task_id = $2 AND h.id < coalesce($3::bigint, 9223372036854775807)
ORDER BY h.id DESC LIMIT $4 OFFSET $5;

-- name: count_history
SELECT count(*) FROM task_history h WHERE h.tenant_id = $1 AND h.task_id = $2;

-- name: read_visible
-- One task with its counts, and how the user stands to it: on it, or in its group (a task without one is everyone's).
SELECT json_build_object(
    'task', to_json(t),
    'subtasks_count', (SELECT count(*) FROM tasks s WHERE s.tenant_id = $1 AND s.parent_task_id = t.id),
    'comments_count', (SELECT count(*) FROM task_comments c WHERE c.tenant_id = $1 AND c.task_id = t.id),
    'is_in_group', t."group" IS NULL OR EXISTS (SELECT FROM group_members m
        WHERE m.tenant_id = $1 AND m.user_id = $3::bigint AND m.group_name = t."group"),
    'role', (SELECT a.role FROM task_assignments a WHERE a.tenant_id = $1 AND a.task_id = t.id AND a.user_id = $3::bigint)
)::text
FROM tasks t WHERE t.tenant_id = $1 AND t.id = $2;

-- name: read_below
-- (root, id, status) below these roots, at any depth, in no order: of what is open, and of those of $3.
WITH RECURSIVE tree (root, id) AS (
    SELECT t.parent_task_id, t.id FROM tasks t WHERE t.tenant_id = $1 AND t.parent_task_id = ANY($2::bigint[])
    UNION
    SELECT tree.root, t.id FROM tree JOIN tasks t ON t.tenant_id = $1 AND t.parent_task_id = tree.id
)
SELECT tree.root, tree.id, t.status FROM tree JOIN tasks t ON t.tenant_id = $1 AND t.id = tree.id
WHERE t.status IN ('pending', 'in_progress', 'overdue') OR t.id = ANY($3::bigint[]);

-- name: read_groups_of
SELECT m.user_id, m.group_name FROM group_members m WHERE m.tenant_id = $1 AND m.user_id = ANY($2::bigint[]);

-- name: read_groups
SELECT m.group_name FROM group_members m WHERE m.tenant_id = $1 AND m.user_id = $2 ORDER BY m.group_name;

-- name: read_subtree
-- All below a task, parents before their children.
WITH RECURSIVE tree (id, depth) AS (
    SELECT t.id, 1 FROM tasks t WHERE t.tenant_id = $1 AND t.parent_task_id = $2
    UNION
    SELECT t.id, tree.depth + 1 FROM tree JOIN tasks t ON t.tenant_id = $1 AND t.parent_task_id = tree.id
)
SELECT to_json(t)::text FROM tree JOIN tasks t ON t.tenant_id = $1 AND t.id = tree.id
ORDER BY tree.depth, t.id LIMIT $3;

-- name: read_stats
-- Of the whole tenant's work: read once, counted in twenty groups. mean_completion_s are seconds from creation.
WITH counted AS (
    SELECT t.status, t.priority, count(*) AS n, sum(extract(epoch FROM t.completed_at - t.created_at)) AS seconds
    FROM tasks t WHERE t.tenant_id = $1
    GROUP BY t.status, t.priority
)
SELECT json_build_object(
    'total', coalesce(sum(n), 0),
    'by_status', coalesce((SELECT json_object_agg(status, n) FROM (SELECT status, sum(n) AS n FROM counted GROUP BY status) s), '{}'),
    'by_priority', coalesce((SELECT json_object_agg(priority, n) FROM (SELECT priority, sum(n) AS n FROM counted GROUP BY priority) p), '{}'),
    'overdue', coalesce(sum(n) FILTER (WHERE status = 'overdue'), 0),
    'completed', coalesce(sum(n) FILTER (WHERE status = 'completed'), 0),
    'mean_completion_s', (sum(seconds) FILTER (WHERE status = 'completed') / nullif(sum(n) FILTER (WHERE status = 'completed'), 0))::float8
)::text FROM counted;

-- name: read_stats_of_user
-- The same of one user's.
WITH counted AS (
    SELECT t.status, t.priority, count(*) AS n, sum(extract(epoch FROM t.completed_at - t.created_at)) AS seconds
    FROM tasks t WHERE t.tenant_id = $1 AND t.id IN (
        SELECT v.id FROM tasks v WHERE v.tenant_id = $1 AND v.assigned_to = $2
        UNION
        SELECT a.task_id FROM task_assignments a WHERE a.tenant_id = $1 AND a.user_id = $2 AND a.role = 'assignee')
    GROUP BY t.status, t.priority
)
SELECT json_build_object(
    'total', coalesce(sum(n), 0),
    'by_status', coalesce((SELECT json_object_agg(status, n) FROM (SELECT status, sum(n) AS n FROM counted GROUP BY status) s), '{}'),
    'by_priority', coalesce((SELECT json_object_agg(priority, n) FROM (SELECT priority, sum(n) AS n FROM counted GROUP BY priority) p), '{}'),
    'overdue', coalesce(sum(n) FILTER (WHERE status = 'overdue'), 0),
    'completed', coalesce(sum(n) FILTER (WHERE status = 'completed'), 0),
    'mean_completion_s', (sum(seconds) FILTER (WHERE status = 'completed') / nullif(sum(n) FILTER (WHERE status = 'completed'), 0))::float8
)::text FROM counted;
