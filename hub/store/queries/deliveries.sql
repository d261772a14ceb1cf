-- name: read_pending
-- What of these notifications has not been handed over to the outside.
SELECT notification_id, channel, status, reason, not_before, has_waited FROM notification_delivery
WHERE tenant_id = $1 AND notification_id = ANY($2::bigint[]) AND status IN ('planned', 'held') AND channel <> 'in_app';

-- name: read_pending_of_user
-- The same for all of one user's, oldest first, with the notification that each is of.
SELECT to_json(n)::text AS notification,
    json_agg(json_build_object('notification_id', d.notification_id, 'channel', d.channel, 'status', d.status,
        'reason', d.reason, 'not_before', d.not_before, 'has_waited', d.has_waited))::text AS pending
FROM notification_delivery d JOIN notifications n ON n.tenant_id = d.tenant_id AND n.id = d.notification_id
WHERE d.tenant_id = $1 AND d.user_id = $2 AND d.status IN ('planned', 'held') AND d.channel <> 'in_app'
GROUP BY n.tenant_id, n.id ORDER BY n.id LIMIT $3;

-- name: read_delivery
-- Every channel of one notification. In the app it is delivered once a device has acknowledged its event.
SELECT json_build_object(
    'channel', d.channel, 'reason', d.reason, 'not_before', d.not_before, 'attempts', d.attempts,
    'next_attempt_at', d.next_attempt_at, 'last_error', d.last_error, 'sent_at', d.sent_at,
    'delivered_at', d.delivered_at, 'created_at', d.created_at, 'updated_at', d.updated_at,
    'status', CASE WHEN d.channel = 'in_app' AND d.status = 'sent' AND s.delivered_seq >= n.live_seq
        THEN 'delivered' ELSE d.status END)::text
FROM notification_delivery d
JOIN notifications n ON n.tenant_id = d.tenant_id AND n.id = d.notification_id
LEFT JOIN user_streams s ON s.tenant_id = d.tenant_id AND s.user_id = d.user_id
WHERE d.tenant_id = $1 AND d.notification_id = $2 ORDER BY d.id;
