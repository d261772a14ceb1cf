-- The directory of a tenant: its people, their groups, their addresses.

-- name: read_person
-- Whoever has an entry or an inbox; without an entry everything but the id is null.
SELECT u.user_id, p.display_name, p.locale, p.timezone, p.external_id, p.created_at, p.updated_at
FROM (VALUES ($2::bigint)) AS u (user_id)
LEFT JOIN people p ON p.tenant_id = $1 AND p.user_id = u.user_id
LEFT JOIN user_streams s ON s.tenant_id = $1 AND s.user_id = u.user_id AND s.erased_seq IS DISTINCT FROM s.head
WHERE p.user_id IS NOT NULL OR s.user_id IS NOT NULL;

-- name: save_person
INSERT INTO people (tenant_id, user_id, display_name, locale, timezone, external_id)
VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT (tenant_id, user_id) DO UPDATE SET
    display_name = excluded.display_name, locale = excluded.locale, timezone = excluded.timezone,
    external_id = excluded.external_id, updated_at = clock_timestamp()
RETURNING user_id, display_name, locale, timezone, external_id, created_at, updated_at;

-- name: fill_name
-- A name that is there stays.
INSERT INTO people (tenant_id, user_id, display_name) VALUES ($1, $2, $3)
ON CONFLICT (tenant_id, user_id) DO UPDATE SET display_name = excluded.display_name, updated_at = clock_timestamp()
WHERE people.display_name IS NULL;

-- name: read_names
SELECT user_id, display_name FROM people
WHERE tenant_id = $1 AND user_id = ANY($2::bigint[]) AND display_name IS NOT NULL;

-- name: read_group
SELECT g.name, g.created_at, g.updated_at, (
    SELECT coalesce(array_agg(m.user_id ORDER BY m.user_id), '{}') FROM group_members m
    WHERE m.tenant_id = g.tenant_id AND m.group_name = g.name) AS members
FROM groups g WHERE g.tenant_id = $1 AND g.name = $2;

-- name: save_group
-- The row is locked from here on: two that replace the members come one after the other.
INSERT INTO groups (tenant_id, name) VALUES ($1, $2)
ON CONFLICT (tenant_id, name) DO UPDATE SET updated_at = clock_timestamp();

-- name: replace_members
WITH gone AS (
    DELETE FROM group_members m
    WHERE m.tenant_id = $1 AND m.group_name = $2 AND m.user_id <> ALL ($3::bigint[])
)
INSERT INTO group_members (tenant_id, group_name, user_id)
SELECT $1, $2, u.user_id FROM unnest($3::bigint[]) AS u (user_id) ORDER BY u.user_id
ON CONFLICT DO NOTHING;

-- name: delete_group
DELETE FROM groups WHERE tenant_id = $1 AND name = $2 RETURNING name;

-- name: read_members
SELECT m.user_id FROM group_members m WHERE m.tenant_id = $1 AND m.group_name = $2 ORDER BY m.user_id LIMIT $3;

-- name: read_contacts
SELECT channel, address, unsubscribed_at FROM contacts WHERE tenant_id = $1 AND user_id = $2;

-- name: replace_contacts
-- What is the same stays as it is: somebody who has unsubscribed an address is not subscribed again by saving it.
WITH gone AS (
    DELETE FROM contacts c WHERE c.tenant_id = $1 AND c.user_id = $2 AND c.channel <> ALL ($3::text[])
)
INSERT INTO contacts (tenant_id, user_id, channel, address)
SELECT $1, $2, u.channel, u.address FROM unnest($3::text[], $4::text[]) AS u (channel, address)
ON CONFLICT (tenant_id, user_id, channel) DO UPDATE SET
    address = excluded.address, unsubscribed_at = NULL, updated_at = clock_timestamp()
WHERE contacts.address <> excluded.address;

-- name: save_push_subscription
-- A browser that subscribes again replaces its row, whoever it was.
INSERT INTO push_subscriptions (tenant_id, user_id, endpoint, p256dh, auth) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (tenant_id, endpoint) DO UPDATE SET
    user_id = excluded.user_id, p256dh = excluded.p256dh, auth = excluded.auth
RETURNING id, user_id, endpoint, created_at, last_used_at;

-- name: read_push_subscriptions
SELECT id, user_id, endpoint, created_at, last_used_at FROM push_subscriptions
WHERE tenant_id = $1 AND user_id = $2 ORDER BY id DESC LIMIT $3;

-- name: delete_push_subscription
DELETE FROM push_subscriptions WHERE tenant_id = $1 AND id = $2 AND user_id = $3 RETURNING id;

-- name: delete_old_push_subscriptions
-- Beyond the newest $3: a browser that was thrown away never says so.
DELETE FROM push_subscriptions WHERE tenant_id = $1 AND user_id = $2 AND id NOT IN (
    SELECT s.id FROM push_subscriptions s WHERE s.tenant_id = $1 AND s.user_id = $2 ORDER BY s.id DESC LIMIT $3);

-- name: read_push_keys
SELECT config ->> 'public_key' AS public_key, secrets FROM channel_senders WHERE tenant_id = $1 AND channel = 'push';

-- name: keep_push_keys
-- The first to make them wins; whoever comes second reads those.
INSERT INTO channel_senders (tenant_id, channel, provider, config, secrets)
VALUES ($1, 'push', 'vapid', jsonb_build_object('public_key', $2::text), $3)
ON CONFLICT (tenant_id, channel) DO UPDATE SET
    config = channel_senders.config || excluded.config, secrets = excluded.secrets, updated_at = clock_timestamp()
WHERE channel_senders.config ->> 'public_key' IS NULL;
