-- name: claim_key
-- An insert that waits, for $7 at most, until a running twin has committed or rolled back; nothing comes back
-- where the twin's row stays. A key past its time ($8) is free again. The lock timeout is as before afterwards.
WITH usual AS MATERIALIZED (SELECT current_setting('lock_timeout') AS timeout),
narrowed AS MATERIALIZED (SELECT usual.timeout AS usual, set_config('lock_timeout', $7, true) AS timeout FROM usual)
INSERT INTO idempotency_keys AS k (tenant_id, user_id, method, path, key, fingerprint)
SELECT $1, $2, $3, $4, $5, $6 FROM narrowed WHERE narrowed.timeout IS NOT NULL
ON CONFLICT (tenant_id, user_id, method, path, key) DO UPDATE
SET fingerprint = excluded.fingerprint, status = NULL, answer = NULL, position = NULL, created_at = clock_timestamp()
WHERE k.created_at < clock_timestamp() - $8::interval
RETURNING set_config('lock_timeout', (SELECT usual FROM narrowed), true);

-- name: read_key
SELECT fingerprint, status, answer, position FROM idempotency_keys
WHERE tenant_id = $1 AND user_id = $2 AND method = $3 AND path = $4 AND key = $5;

-- name: keep_answer
UPDATE idempotency_keys SET status = $6, answer = $7, position = $8
WHERE tenant_id = $1 AND user_id = $2 AND method = $3 AND path = $4 AND key = $5;

-- name: read_keys
-- What is kept of several, but for those past their time ($6).
SELECT k.user_id, k.method, k.path, k.key, k.fingerprint, k.status, k.answer, k.position
FROM unnest($2::bigint[], $3::text[], $4::text[], $5::text[]) AS u (owner, method, path, key)
JOIN idempotency_keys k
  ON k.tenant_id = $1 AND k.user_id = u.owner AND k.method = u.method AND k.path = u.path AND k.key = u.key
WHERE k.created_at >= clock_timestamp() - $6::interval;

-- name: keep_whole
-- Several keys with their answers, in one order, so that those who keep several do not wait for each other in a
-- circle. Says how many are the transaction's: fewer, where a twin was quicker. A key past its time ($10) is free.
WITH kept AS (
    INSERT INTO idempotency_keys AS k (tenant_id, user_id, method, path, key, fingerprint, status, answer, position)
    SELECT $1, u.owner, u.method, u.path, u.key, u.fingerprint, u.status, u.answer, u.position
    FROM unnest($2::bigint[], $3::text[], $4::text[], $5::text[], $6::bytea[], $7::smallint[], $8::bytea[], $9::text[])
        AS u (owner, method, path, key, fingerprint, status, answer, position)
    ORDER BY u.owner, u.method, u.path, u.key
    ON CONFLICT (tenant_id, user_id, method, path, key) DO UPDATE
    SET fingerprint = excluded.fingerprint, status = excluded.status, answer = excluded.answer,
        position = excluded.position, created_at = clock_timestamp()
    WHERE k.created_at < clock_timestamp() - $10::interval
    RETURNING 1
)
SELECT count(*)::int FROM kept;
