-- Row-level security on every table with a tenant, and what hub_serve may do. Nothing for PUBLIC.

DO $$
DECLARE
    one text;
BEGIN
    FOR one IN
        SELECT c.relname FROM pg_catalog.pg_class c
        JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attname = 'tenant_id' AND NOT a.attisdropped
        WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition
    LOOP
        EXECUTE format('ALTER TABLE public.%I ENABLE ROW LEVEL SECURITY', one);
        -- After SET LOCAL a pooled session reads an empty text, not NULL: neither is a tenant.
        EXECUTE format($policy$
            CREATE POLICY tenant ON public.%I FOR ALL TO hub_serve
            USING (tenant_id = nullif(current_setting('hub.tenant_id', true), ''))
            WITH CHECK (tenant_id = nullif(current_setting('hub.tenant_id', true), ''))
        $policy$, one);
    END LOOP;
END
$$;

GRANT SELECT, INSERT, UPDATE ON user_streams, notification_preferences, tenant_settings, api_keys, revocations, broadcasts TO hub_serve;
GRANT SELECT, INSERT, DELETE ON events, template_versions, task_history, group_members TO hub_serve;
GRANT SELECT, INSERT, UPDATE, DELETE ON
    idempotency_keys, notifications, notification_delivery, broadcast_audience,
    tasks, task_comments, task_assignments,
    communication_templates, communication_logs, contacts, push_subscriptions, webhooks, escalation_rules, channel_senders,
    people, groups TO hub_serve;
GRANT DELETE ON notification_preferences, broadcasts TO hub_serve;
-- Erasure replaces the person in what is otherwise never changed.
GRANT UPDATE (actor_id) ON task_history TO hub_serve;
GRANT UPDATE (created_by) ON template_versions TO hub_serve;
GRANT SELECT, INSERT ON audit_log TO hub_serve;
GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO hub_serve;

REVOKE EXECUTE ON FUNCTION
    hub_epoch(), hub_sweep(text[], bigint[], bigint[]), hub_due_releases(int), hub_due_expiries(int), hub_due_broadcasts(int), hub_due_tasks(int),
    hub_due_erasures(int, interval),
    hub_revocations(timestamptz), hub_forget_keys(interval, int), hub_make_partitions(int), hub_lock_streams(text, bigint[], bigint[]),
    hub_refuse_change() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION
    hub_epoch(), hub_sweep(text[], bigint[], bigint[]), hub_due_releases(int), hub_due_expiries(int), hub_due_broadcasts(int), hub_due_tasks(int),
    hub_due_erasures(int, interval),
    hub_revocations(timestamptz), hub_forget_keys(interval, int), hub_make_partitions(int), hub_lock_streams(text, bigint[], bigint[])
    TO hub_serve;
