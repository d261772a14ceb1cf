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
