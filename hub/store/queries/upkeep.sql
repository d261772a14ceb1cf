-- What spans tenants: keys, heads and times only, and the days of the log.

-- name: find_due_releases
SELECT tenant_id, user_id FROM hub_due_releases($1);

-- name: find_due_expiries
SELECT tenant_id, user_id FROM hub_due_expiries($1);

-- name: find_due_broadcasts
SELECT tenant_id, broadcast_id FROM hub_due_broadcasts($1);

-- name: find_due_tasks
SELECT tenant_id, task_id FROM hub_due_tasks($1);

-- name: find_due_erasures
SELECT tenant_id, user_id FROM hub_due_erasures($1, $2::interval);

-- name: forget_keys
SELECT hub_forget_keys($1::interval, $2);
