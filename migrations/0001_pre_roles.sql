-- The role under which every query of the hub runs, and the one row about this database.
--
-- The role belongs to the whole cluster, so two databases may make it at the same instant.

DO $$
DECLARE
    existing pg_catalog.pg_roles;
BEGIN
    LOOP
        SELECT * INTO existing FROM pg_catalog.pg_roles WHERE rolname = 'hub_serve';
        EXIT WHEN FOUND;
        BEGIN
            CREATE ROLE hub_serve NOLOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS;
        EXCEPTION
            WHEN duplicate_object OR unique_violation THEN NULL;  -- another database was first
            WHEN insufficient_privilege THEN
                RAISE EXCEPTION 'the role hub_serve is missing, and % may not create it', current_user
                    USING ERRCODE = 'insufficient_privilege',
                          HINT = 'As a superuser: CREATE ROLE hub_serve NOLOGIN; GRANT hub_serve TO ' || quote_ident(current_user);
        END;
    END LOOP;
    IF existing.rolsuper OR existing.rolbypassrls THEN
        RAISE EXCEPTION 'the role hub_serve exists and can bypass row-level security'
            USING HINT = 'ALTER ROLE hub_serve NOSUPERUSER NOBYPASSRLS';
    END IF;
END
$$;

-- Whoever migrates must be able to become hub_serve. From 16 on, membership alone does not allow SET ROLE.
DO $$
DECLARE
    since_16 constant boolean := current_setting('server_version_num')::int >= 160000;
BEGIN
    LOOP
        EXIT WHEN pg_catalog.pg_has_role(current_user, 'hub_serve', CASE WHEN since_16 THEN 'SET' ELSE 'MEMBER' END);
        BEGIN
            EXECUTE 'GRANT hub_serve TO CURRENT_USER' || CASE WHEN since_16 THEN ' WITH INHERIT FALSE, SET TRUE' ELSE '' END;
        EXCEPTION
            WHEN unique_violation THEN NULL;  -- another database was first
            WHEN insufficient_privilege THEN
                RAISE EXCEPTION '% may not become hub_serve', current_user
                    USING ERRCODE = 'insufficient_privilege',
                          HINT = 'As a superuser: GRANT hub_serve TO ' || quote_ident(current_user);
        END;
    END LOOP;
END
$$;

GRANT USAGE ON SCHEMA public TO hub_serve;

-- Versions and names are no secret, and readiness asks for them before it may be hub_serve.
GRANT SELECT ON schema_migrations TO PUBLIC;

CREATE TABLE hub_meta (
    only_row boolean PRIMARY KEY DEFAULT true,
    epoch text NOT NULL DEFAULT replace(gen_random_uuid()::text, '-', ''),
    epoch_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT hub_meta_has_one_row CHECK (only_row)
);
COMMENT ON TABLE hub_meta IS 'One row about this database. epoch: the stored part of what hub_epoch() answers; replaced by `hub epoch new`';
COMMENT ON INDEX hub_meta_pkey IS 'the one row';
INSERT INTO hub_meta DEFAULT VALUES;
