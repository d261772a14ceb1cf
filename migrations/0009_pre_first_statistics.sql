-- What the planner believes of tables that are still empty.
--
-- Without statistics it takes one value of tenant_id to be as rare as one id, so that every index that begins with
-- tenant_id costs the same, and the plan that is kept (of a statement, of a foreign key's check) may read a whole
-- tenant a row. On a new hub that lasts until the first autovacuum. So it is shown a few hundred rows of one tenant,
-- looks, and they go again; the first real ANALYZE replaces what it saw.

INSERT INTO user_streams (tenant_id, user_id, head) SELECT ' ', n, n % 7 FROM generate_series(1, 300) n;
INSERT INTO notifications (
    tenant_id, id, user_id, type, title, message, priority, category, state, live_seq, hold_reason, due_at, is_read, read_at,
    is_seen, is_archived, archived_at, expires_at, collapse_key, related_entity_type, related_entity_id, created_by)
SELECT ' ', -n, n % 60 + 1,
    (ARRAY['lead_assigned', 'task_assigned', 'task_completed', 'call_missed', 'message_received', 'system'])[n % 6 + 1],
    'A title of usual length', repeat('A message of usual length. ', 4),
    (ARRAY['critical', 'high', 'normal', 'normal', 'low'])[n % 5 + 1], 'general',
    CASE WHEN n % 20 = 0 THEN 'held' ELSE 'live' END, CASE WHEN n % 20 = 0 THEN NULL ELSE n / 60 + 1 END,
    CASE WHEN n % 20 = 0 THEN 'quiet' END, CASE WHEN n % 20 = 0 THEN now() END,
    n % 20 BETWEEN 1 AND 15, CASE WHEN n % 20 BETWEEN 1 AND 15 THEN now() END, n % 20 BETWEEN 1 AND 17,
    n % 20 = 1, CASE WHEN n % 20 = 1 THEN now() END, CASE WHEN n % 10 = 0 THEN now() + n * interval '1 h' END,
    CASE WHEN n % 10 = 0 THEN 'key ' || n END, CASE WHEN n % 3 = 0 THEN 'lead' END, CASE WHEN n % 3 = 0 THEN n::text END, n % 9
FROM generate_series(1, 600) n;
INSERT INTO notification_delivery (tenant_id, id, notification_id, user_id, channel, status, sent_at)
SELECT ' ', -(2 * n - c.place), -n, n % 60 + 1, c.channel, CASE WHEN n % 50 = 0 THEN 'planned' ELSE 'sent' END, now()
FROM generate_series(1, 600) n, unnest(ARRAY['in_app', 'email']) WITH ORDINALITY AS c (channel, place);
INSERT INTO notification_preferences (tenant_id, user_id) SELECT ' ', n FROM generate_series(1, 100) n;
INSERT INTO contacts (tenant_id, user_id, channel, address) SELECT ' ', n, 'email', n::text FROM generate_series(1, 100) n;
INSERT INTO idempotency_keys (tenant_id, user_id, method, path, key, fingerprint)
SELECT ' ', n % 10 + 1, 'POST', '/api/v1/notifications', n::text, '\x00' FROM generate_series(1, 300) n;

ANALYZE user_streams, notifications, notification_delivery, notification_preferences, contacts, idempotency_keys;

DELETE FROM notification_delivery WHERE tenant_id = ' ';
DELETE FROM notifications WHERE tenant_id = ' ';
DELETE FROM user_streams WHERE tenant_id = ' ';
DELETE FROM notification_preferences WHERE tenant_id = ' ';
DELETE FROM contacts WHERE tenant_id = ' ';
DELETE FROM idempotency_keys WHERE tenant_id = ' ';

-- And it is not looked at again before it has grown: of a table of one page, a scan of it all is the cheapest, and the
-- check of a foreign key that is planned then is kept while a bulk makes a hundred thousand rows of it.
DO $$
DECLARE
    grown text;
BEGIN
    FOREACH grown IN ARRAY ARRAY[
        'user_streams', 'notifications', 'notification_delivery', 'notification_preferences', 'contacts',
        'idempotency_keys', 'tasks', 'task_assignments', 'task_comments', 'task_history']
    LOOP
        EXECUTE format('ALTER TABLE %I SET (autovacuum_vacuum_threshold = 5000, autovacuum_analyze_threshold = 5000)', grown);
    END LOOP;
END
$$;
