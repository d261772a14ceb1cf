-- The few things that cannot be a plain query of one tenant.
--
-- SECURITY DEFINER functions look across tenants and answer keys, heads and times only. Each pins its
-- search_path and names public in full, so that nobody's objects can stand in for ours.

CREATE FUNCTION hub_epoch() RETURNS text
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF pg_is_in_recovery() THEN
        RAISE EXCEPTION 'this server is a standby' USING ERRCODE = 'read_only_sql_transaction';
    END IF;
    -- The timeline of the insert position, not of the last checkpoint: a fresh promotion is seen at once.
    RETURN (
        SELECT left(encode(sha256(convert_to(concat_ws('/',
            m.epoch, c.system_identifier, left(pg_walfile_name(pg_current_wal_insert_lsn()), 8)), 'UTF8')), 'hex'), 16)
        FROM public.hub_meta m, pg_control_system() c);
END
$$;
COMMENT ON FUNCTION hub_epoch() IS 'which history the numbers belong to: a digest of the stored epoch, the system identifier and the WAL timeline';

CREATE FUNCTION hub_sweep(tenants text[], users bigint[], seqs bigint[])
RETURNS TABLE (tenant_id text, user_id bigint, head bigint)
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT asked.tenant_id, asked.user_id, coalesce(s.head, 0)
    FROM unnest(tenants, users, seqs) AS asked (tenant_id, user_id, seq)
    LEFT JOIN public.user_streams s ON s.tenant_id = asked.tenant_id AND s.user_id = asked.user_id
    WHERE coalesce(s.head, 0) <> asked.seq
$$;
COMMENT ON FUNCTION hub_sweep(text[], bigint[], bigint[]) IS 'law 8: of the users asked about, those whose head is not where the node has them; a user without a stream has head 0';

CREATE FUNCTION hub_due_releases(lim int)
RETURNS TABLE (tenant_id text, user_id bigint, due_at timestamptz)
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    instant constant timestamptz := clock_timestamp();
BEGIN
    -- Tenants by skipping through the index; of each, the longest due; then every tenant's first before any second.
    RETURN QUERY
    WITH RECURSIVE waiting (tenant_id) AS (
        SELECT min(n.tenant_id) FROM public.notifications n WHERE n.state = 'held' AND n.due_at IS NOT NULL
        UNION ALL
        SELECT (SELECT min(n.tenant_id) FROM public.notifications n
                WHERE n.state = 'held' AND n.due_at IS NOT NULL AND n.tenant_id > w.tenant_id)
        FROM waiting w WHERE w.tenant_id IS NOT NULL
    )
    SELECT w.tenant_id, u.user_id, u.due_at
    FROM waiting w CROSS JOIN LATERAL (
        SELECT first.user_id, min(first.due_at) AS due_at, row_number() OVER (ORDER BY min(first.due_at), first.user_id) AS turn
        FROM (SELECT n.user_id, n.due_at FROM public.notifications n
              WHERE n.tenant_id = w.tenant_id AND n.state = 'held' AND n.due_at <= instant
              ORDER BY n.due_at, n.user_id LIMIT lim * 10) first
        GROUP BY first.user_id
    ) u
    ORDER BY u.turn, u.due_at LIMIT lim;
END
$$;
COMMENT ON FUNCTION hub_due_releases(int) IS 'users with something held that is to be judged again now, and since when; tenants in turn';

CREATE FUNCTION hub_due_expiries(lim int)
RETURNS TABLE (tenant_id text, user_id bigint, due_at timestamptz)
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    instant constant timestamptz := clock_timestamp();
BEGIN
    RETURN QUERY
    WITH RECURSIVE waiting (tenant_id) AS (
        SELECT min(n.tenant_id) FROM public.notifications n WHERE n.expires_at IS NOT NULL AND n.state IN ('live', 'held')
        UNION ALL
        SELECT (SELECT min(n.tenant_id) FROM public.notifications n
                WHERE n.expires_at IS NOT NULL AND n.state IN ('live', 'held') AND n.tenant_id > w.tenant_id)
        FROM waiting w WHERE w.tenant_id IS NOT NULL
    )
    SELECT w.tenant_id, u.user_id, u.due_at
    FROM waiting w CROSS JOIN LATERAL (
        SELECT first.user_id, min(first.expires_at) AS due_at, row_number() OVER (ORDER BY min(first.expires_at), first.user_id) AS turn
        FROM (SELECT n.user_id, n.expires_at FROM public.notifications n
              WHERE n.tenant_id = w.tenant_id AND n.state IN ('live', 'held') AND n.expires_at <= instant
              ORDER BY n.expires_at, n.user_id LIMIT lim * 10) first
        GROUP BY first.user_id
    ) u
    ORDER BY u.turn, u.due_at LIMIT lim;
END
$$;
COMMENT ON FUNCTION hub_due_expiries(int) IS 'users with something in the inbox or held whose time has passed, and since when; tenants in turn';

CREATE FUNCTION hub_due_tasks(lim int)
RETURNS TABLE (tenant_id text, task_id bigint)
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    instant constant timestamptz := clock_timestamp();
BEGIN
    RETURN QUERY
    WITH RECURSIVE waiting (tenant_id) AS (
        SELECT min(t.tenant_id) FROM public.tasks t WHERE t.wake_at IS NOT NULL
        UNION ALL
        SELECT (SELECT min(t.tenant_id) FROM public.tasks t WHERE t.wake_at IS NOT NULL AND t.tenant_id > w.tenant_id)
        FROM waiting w WHERE w.tenant_id IS NOT NULL
    )
    SELECT w.tenant_id, u.id
    FROM waiting w CROSS JOIN LATERAL (
        SELECT t.id, t.wake_at, row_number() OVER (ORDER BY t.wake_at, t.id) AS turn FROM public.tasks t
        WHERE t.tenant_id = w.tenant_id AND t.wake_at <= instant
        ORDER BY t.wake_at, t.id LIMIT lim
    ) u
    ORDER BY u.turn, u.wake_at LIMIT lim;
END
$$;
COMMENT ON FUNCTION hub_due_tasks(int) IS 'tasks with a reminder due or past their due date; tenants in turn, of each the longest due first';

CREATE FUNCTION hub_due_broadcasts(lim int)
RETURNS TABLE (tenant_id text, broadcast_id bigint)
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT b.tenant_id, b.id
    FROM (SELECT u.tenant_id, u.id, row_number() OVER (PARTITION BY u.tenant_id ORDER BY
              array_position(ARRAY['critical', 'high', 'normal', 'low'], u.draft ->> 'priority'), u.id) AS turn
          FROM public.broadcasts u WHERE u.completed_at IS NULL AND u.withdrawn_at IS NULL) b
    ORDER BY b.turn, b.id LIMIT lim
$$;
COMMENT ON FUNCTION hub_due_broadcasts(int) IS 'broadcasts whose fan-out is not complete; tenants in turn, of each the most urgent first';

CREATE FUNCTION hub_due_erasures(lim int, idle interval)
RETURNS TABLE (tenant_id text, user_id bigint)
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT e.tenant_id, e.user_id
    FROM (SELECT s.tenant_id, s.user_id, s.erasing_at,
              row_number() OVER (PARTITION BY s.tenant_id ORDER BY s.erasing_at, s.user_id) AS turn
          FROM public.user_streams s WHERE s.erasing_at < now() - idle) e
    ORDER BY e.turn, e.erasing_at LIMIT lim
$$;
COMMENT ON FUNCTION hub_due_erasures(int, interval) IS 'people whose erasing was begun and has not gone on for a while; tenants in turn, of each the longest waiting first';

CREATE FUNCTION hub_revocations(since timestamptz)
RETURNS TABLE (tenant_id text, user_id bigint, revoked_at timestamptz)
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT r.tenant_id, r.user_id, r.revoked_at FROM public.revocations r WHERE r.revoked_at > since ORDER BY r.revoked_at
$$;
COMMENT ON FUNCTION hub_revocations(timestamptz) IS 'whose tokens were revoked after an instant. Commits come later than their instants: ask some seconds back';

CREATE FUNCTION hub_forget_keys(older_than interval, lim int) RETURNS int
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    forgotten int;
BEGIN
    DELETE FROM public.idempotency_keys k WHERE k.ctid = ANY (ARRAY(
        SELECT old.ctid FROM public.idempotency_keys old WHERE old.created_at < now() - older_than
        ORDER BY old.created_at LIMIT lim FOR UPDATE SKIP LOCKED));
    GET DIAGNOSTICS forgotten = ROW_COUNT;
    RETURN forgotten;
END
$$;
COMMENT ON FUNCTION hub_forget_keys(interval, int) IS 'retention of idempotency keys: how many were deleted, at most lim';

CREATE FUNCTION hub_make_partitions(days_ahead int) RETURNS SETOF text
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    today constant date := (clock_timestamp() AT TIME ZONE 'UTC')::date;
    day date;
    name text;
BEGIN
    IF days_ahead IS NULL OR days_ahead NOT BETWEEN 0 AND 366 THEN
        RAISE EXCEPTION 'days_ahead must be 0 to 366' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    FOR offset_days IN -1..days_ahead LOOP
        day := today + offset_days;
        name := format('events_%s', to_char(day, 'YYYYMMDD'));
        -- Asked of the table, since to_regclass may answer from a cache that is older than the lock.
        CONTINUE WHEN EXISTS (SELECT FROM pg_class c WHERE c.relname = name AND c.relnamespace = 'public'::regnamespace);
        PERFORM pg_advisory_xact_lock(hashtextextended('hub_make_partitions', 0));
        CONTINUE WHEN EXISTS (SELECT FROM pg_class c WHERE c.relname = name AND c.relnamespace = 'public'::regnamespace);
        -- Made apart and attached, since PARTITION OF would lock out every reader and writer of events.
        EXECUTE format('CREATE TABLE public.%I (LIKE public.events INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING STORAGE)
            WITH (autovacuum_vacuum_insert_scale_factor = 0.1, autovacuum_freeze_min_age = 0)', name);
        -- Without a policy nobody but the owner sees anything: content is reached through events alone.
        EXECUTE format('ALTER TABLE public.%I ENABLE ROW LEVEL SECURITY', name);
        EXECUTE format('ALTER TABLE public.events ATTACH PARTITION public.%I FOR VALUES FROM (%L) TO (%L)',
            name, day::timestamp AT TIME ZONE 'UTC', (day + 1)::timestamp AT TIME ZONE 'UTC');
        RETURN NEXT name;
    END LOOP;
END
$$;
COMMENT ON FUNCTION hub_make_partitions(int) IS 'makes the daily partitions of events from yesterday to days_ahead that are missing (UTC days), and names them';

CREATE FUNCTION hub_lock_streams(p_tenant text, p_users bigint[], p_known bigint[] DEFAULT '{}') RETURNS SETOF user_streams
LANGUAGE plpgsql VOLATILE SECURITY INVOKER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    -- Two statements with a snapshot each: the second sees what others inserted while the first waited.
    INSERT INTO public.user_streams (tenant_id, user_id)
    SELECT p_tenant, missing.user_id
    FROM (SELECT DISTINCT u.user_id FROM unnest(p_users) AS u (user_id) WHERE u.user_id IS NOT NULL) missing
    WHERE NOT EXISTS (SELECT FROM public.user_streams s WHERE s.tenant_id = p_tenant AND s.user_id = missing.user_id)
    ORDER BY missing.user_id
    ON CONFLICT DO NOTHING;
    RETURN QUERY
    SELECT s.* FROM public.user_streams s
    WHERE s.tenant_id = p_tenant AND s.user_id = ANY (p_users || p_known)
    ORDER BY s.tenant_id, s.user_id
    FOR NO KEY UPDATE;
END
$$;
COMMENT ON FUNCTION hub_lock_streams(text, bigint[], bigint[]) IS 'law 2: makes the streams of the first that are missing, and locks all of both that there are, ascending; nulls and repeats are ignored';

SELECT hub_make_partitions(7);
