-- Templates of messages, and their versions.

-- name: insert_template
-- Nothing comes back where there is one of that name, channel and locale.
INSERT INTO communication_templates (
    tenant_id, name, type, locale, channel, subject, body, variables, is_active, created_by)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8::text[], $9, $10)
ON CONFLICT (tenant_id, name, channel, locale) DO NOTHING
RETURNING to_json(communication_templates)::text;

-- name: lock_template
SELECT to_json(t)::text FROM communication_templates t WHERE t.tenant_id = $1 AND t.id = $2 FOR NO KEY UPDATE;

-- name: read_template
SELECT to_json(t)::text FROM communication_templates t WHERE t.tenant_id = $1 AND t.id = $2;

-- name: find_twin
-- Another one of that name, channel and locale.
SELECT id FROM communication_templates WHERE tenant_id = $1 AND name = $2 AND channel = $3 AND locale = $4 AND id <> $5;

-- name: update_template
UPDATE communication_templates t
SET name = $3, type = $4, locale = $5, channel = $6, subject = $7, body = $8, variables = $9::text[], is_active = $10,
    version = $11, updated_at = clock_timestamp()
WHERE t.tenant_id = $1 AND t.id = $2
RETURNING to_json(t)::text;

-- name: delete_template
-- Its versions go with it; the log keeps what was sent, without its name.
DELETE FROM communication_templates WHERE tenant_id = $1 AND id = $2 RETURNING id;

-- name: insert_version
INSERT INTO template_versions (tenant_id, template_id, version, subject, body, variables, created_by)
VALUES ($1, $2, $3, $4, $5, $6::text[], $7);

-- name: read_versions
SELECT json_build_object('version', v.version, 'subject', v.subject, 'body', v.body, 'variables', v.variables,
    'created_by', v.created_by, 'created_at', v.created_at)::text
FROM template_versions v WHERE v.tenant_id = $1 AND v.template_id = $2
ORDER BY v.version DESC LIMIT $3;

-- name: read_templates
-- By name, then channel and locale: the order of their index. ($8, $9, $10) is the last one of the page before.
SELECT to_json(t)::text FROM communication_templates t
WHERE t.tenant_id = $1 AND ($2::text IS NULL OR t.name = $2) AND ($3::text[] IS NULL OR t.channel = ANY($3))
  AND ($4::text IS NULL OR t.type = $4) AND ($5::text IS NULL OR t.locale = $5)
  AND ($6::boolean IS NULL OR t.is_active = $6)
  AND ($7::text IS NULL OR t.name ILIKE $7 OR t.subject ILIKE $7)
  AND ($8::text IS NULL OR (t.name, t.channel, t.locale) > ($8, $9::text, $10::text))
ORDER BY t.name, t.channel, t.locale LIMIT $11 OFFSET $12;

-- name: count_templates
SELECT count(*)::int FROM communication_templates t
WHERE t.tenant_id = $1 AND ($2::text IS NULL OR t.name = $2) AND ($3::text[] IS NULL OR t.channel = ANY($3))
  AND ($4::text IS NULL OR t.type = $4) AND ($5::text IS NULL OR t.locale = $5)
  AND ($6::boolean IS NULL OR t.is_active = $6)
  AND ($7::text IS NULL OR t.name ILIKE $7 OR t.subject ILIKE $7);

-- name: read_wordings
-- What may be used of these names, in every locale.
SELECT to_json(t)::text FROM communication_templates t
WHERE t.tenant_id = $1 AND t.name = ANY($2::text[]) AND t.channel = ANY($3::text[]) AND t.is_active
ORDER BY t.name, t.channel, t.locale;

-- name: read_locales
-- What these users read: their own choice, else what is known of the person, else the tenant's.
SELECT u.user_id, coalesce(n.locale, p.locale) AS locale
FROM unnest($2::bigint[]) AS u (user_id)
LEFT JOIN notification_preferences n ON n.tenant_id = $1 AND n.user_id = u.user_id
LEFT JOIN people p ON p.tenant_id = $1 AND p.user_id = u.user_id;

-- name: read_usual_locale
SELECT locale FROM tenant_settings WHERE tenant_id = $1;

-- name: mark_used
-- In one order: two writes that use the same ones do not wait for each other in a circle.
UPDATE communication_templates t SET usage_count = t.usage_count + u.count, last_used_at = clock_timestamp()
FROM (
    SELECT c.id, w.count FROM communication_templates c
    JOIN unnest($2::bigint[], $3::bigint[]) AS w (id, count) ON w.id = c.id
    WHERE c.tenant_id = $1 AND c.id = ANY($2::bigint[]) ORDER BY c.id FOR NO KEY UPDATE OF c
) AS u
WHERE t.tenant_id = $1 AND t.id = u.id;
