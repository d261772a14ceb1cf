-- Preferences, people, credentials and the trail.

-- name: read_preferences
-- One user's row, and the tenant's defaults; either may be null.
SELECT
    (SELECT to_json(p) FROM notification_preferences p WHERE p.tenant_id = $1 AND p.user_id = $2)::text AS own,
    (SELECT json_build_object('preferences', s.preferences, 'locked', s.locked, 'timezone', s.timezone, 'locale', s.locale)
     FROM tenant_settings s WHERE s.tenant_id = $1)::text AS tenant;

-- name: save_preferences
INSERT INTO notification_preferences
SELECT * FROM jsonb_populate_record(NULL::notification_preferences,
    $1::text::jsonb || jsonb_build_object('updated_at', clock_timestamp()))
ON CONFLICT (tenant_id, user_id) DO UPDATE SET
    enable_email_notifications = excluded.enable_email_notifications,
    enable_sms_notifications = excluded.enable_sms_notifications,
    enable_push_notifications = excluded.enable_push_notifications,
    enable_whatsapp_notifications = excluded.enable_whatsapp_notifications,
    enable_slack_notifications = excluded.enable_slack_notifications,
    enable_in_app_notifications = excluded.enable_in_app_notifications,
    enable_desktop_notifications = excluded.enable_desktop_notifications,
    notify_task_assigned = excluded.notify_task_assigned,
    notify_task_completed = excluded.notify_task_completed,
    notify_deadline_reminder = excluded.notify_deadline_reminder,
    notify_lead_assigned = excluded.notify_lead_assigned,
    notify_call_missed = excluded.notify_call_missed,
    notify_message_received = excluded.notify_message_received,
    quiet_hours_enabled = excluded.quiet_hours_enabled,
    quiet_hours_start = excluded.quiet_hours_start,
    quiet_hours_end = excluded.quiet_hours_end,
    quiet_hours_days = excluded.quiet_hours_days,
    quiet_until = excluded.quiet_until,
    muted_categories = excluded.muted_categories,
    timezone = excluded.timezone,
    locale = excluded.locale,
    email_batch_frequency = excluded.email_batch_frequency,
    sms_batch_frequency = excluded.sms_batch_frequency,
    updated_at = excluded.updated_at;

-- name: insert_api_key
INSERT INTO api_keys (tenant_id, name, secret_hash, created_by) VALUES ($1, $2, $3, $4)
RETURNING id, name, created_by, created_at, last_used_at, revoked_at;

-- name: read_api_keys
SELECT id, name, created_by, created_at, last_used_at, revoked_at FROM api_keys WHERE tenant_id = $1 ORDER BY id DESC LIMIT $2;

-- name: revoke_api_key
-- Answers the key where it was not revoked before.
UPDATE api_keys SET revoked_at = clock_timestamp() WHERE tenant_id = $1 AND id = $2 AND revoked_at IS NULL RETURNING id;

-- name: revoke_user
-- Whole seconds: the instants of tokens have no more, and one issued in this very second is issued before now.
INSERT INTO revocations (tenant_id, user_id, revoked_at) VALUES ($1, $2, clock_timestamp())
ON CONFLICT (tenant_id, user_id) DO UPDATE SET revoked_at = excluded.revoked_at
RETURNING revoked_at;

-- name: read_api_key
SELECT secret_hash, name, revoked_at IS NOT NULL AS is_revoked FROM api_keys WHERE tenant_id = $1 AND id = $2;

-- name: read_user_by_external_id
SELECT user_id FROM people WHERE tenant_id = $1 AND external_id = $2;

-- name: read_revocations
SELECT tenant_id, user_id, revoked_at FROM hub_revocations(coalesce($1::timestamptz - interval '10 s', '-infinity'));
