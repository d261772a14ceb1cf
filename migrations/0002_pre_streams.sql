-- Laws 1 and 6: the counter row of each user, and the log that it numbers.

CREATE TABLE user_streams (
    tenant_id text NOT NULL,
    user_id bigint NOT NULL,
    head bigint NOT NULL DEFAULT 0,
    unread int NOT NULL DEFAULT 0,
    unseen int NOT NULL DEFAULT 0,
    unread_critical int NOT NULL DEFAULT 0,
    unread_high int NOT NULL DEFAULT 0,
    unread_normal int NOT NULL DEFAULT 0,
    unread_low int NOT NULL DEFAULT 0,
    delivered_seq bigint NOT NULL DEFAULT 0,
    erased_seq bigint,
    erasing_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (tenant_id, user_id),
    CONSTRAINT user_streams_tenant_id_is_1_to_128_characters CHECK (char_length(tenant_id) BETWEEN 1 AND 128),
    CONSTRAINT user_streams_user_id_is_1_to_2_pow_53_minus_1 CHECK (user_id BETWEEN 1 AND 9007199254740991),
    CONSTRAINT user_streams_head_is_not_negative CHECK (head >= 0),
    CONSTRAINT user_streams_delivered_is_at_most_head CHECK (delivered_seq BETWEEN 0 AND head),
    CONSTRAINT user_streams_unseen_is_not_negative CHECK (unseen >= 0),
    CONSTRAINT user_streams_unread_by_priority_is_not_negative
        CHECK (least(unread_critical, unread_high, unread_normal, unread_low) >= 0),
    CONSTRAINT user_streams_unread_is_the_sum_of_its_priorities
        CHECK (unread = unread_critical + unread_high + unread_normal + unread_low)
) WITH (
    -- No index holds what an event changes, so with room on the page that update is HOT and cleans up after the last one.
    fillfactor = 50,
    autovacuum_vacuum_scale_factor = 0.02,
    autovacuum_vacuum_cost_delay = 0
);
COMMENT ON TABLE user_streams IS 'One row a user: where the log stands (law 1: its row lock is what numbers events), and the badge as of that number. Never deleted: head goes on after an erasure';
COMMENT ON COLUMN user_streams.delivered_seq IS 'the highest cursor that a device has acknowledged';
COMMENT ON COLUMN user_streams.erased_seq IS 'number of the last inbox.erased: while it is the head, nobody has an inbox here';
COMMENT ON COLUMN user_streams.erasing_at IS 'while the person is being erased: when the last part of it was done. What is left of their inbox is shown to nobody';
COMMENT ON INDEX user_streams_pkey IS 'hub_lock_streams, state of a stream, sweep, acknowledge';
CREATE INDEX user_streams_erasing ON user_streams (erasing_at) WHERE erasing_at IS NOT NULL;
COMMENT ON INDEX user_streams_erasing IS 'hub_due_erasures: whose erasing nobody goes on with';

CREATE TABLE events (
    tenant_id text NOT NULL,
    user_id bigint NOT NULL,
    seq bigint NOT NULL,
    kind text NOT NULL,
    lane smallint NOT NULL,
    rings boolean NOT NULL DEFAULT false,
    released boolean NOT NULL DEFAULT false,
    at timestamptz NOT NULL,
    tail bytea NOT NULL,
    CONSTRAINT events_seq_is_positive CHECK (seq > 0),
    CONSTRAINT events_lane_is_0_to_7 CHECK (lane BETWEEN 0 AND 7)
) PARTITION BY RANGE (at);
COMMENT ON TABLE events IS 'The users'' logs, a partition a day. (tenant_id, user_id, seq) is unique by the lock of the stream; no key across partitions can say so';
COMMENT ON COLUMN events.lane IS 'rank of the priority, 0 critical to 3 low, for notification.created; that plus 4 for every other kind';
COMMENT ON COLUMN events.tail IS 'UTF-8 JSON of the frame after seq and cursor';

CREATE INDEX events_by_seq ON events (tenant_id, user_id, seq);
COMMENT ON INDEX events_by_seq IS 'replay: events of a user after seq, ascending; whether the event after a cursor is kept; erasure and export of a user';
CREATE INDEX events_critical ON events (tenant_id, user_id, seq) WHERE lane = 0;
COMMENT ON INDEX events_critical IS 'the first critical notification.created of a user after seq, which overtake a backlog';

CREATE TABLE idempotency_keys (
    tenant_id text NOT NULL,
    user_id bigint NOT NULL,
    method text NOT NULL,
    path text NOT NULL,
    key text NOT NULL,
    fingerprint bytea NOT NULL,
    status smallint,
    answer bytea,
    position text,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (tenant_id, user_id, method, path, key),
    CONSTRAINT idempotency_keys_key_is_1_to_255_bytes CHECK (octet_length(key) BETWEEN 1 AND 255),
    CONSTRAINT idempotency_keys_path_is_1_to_1024_bytes CHECK (octet_length(path) BETWEEN 1 AND 1024),
    CONSTRAINT idempotency_keys_keep_only_2xx CHECK (status BETWEEN 200 AND 299),
    CONSTRAINT idempotency_keys_status_comes_with_answer CHECK ((status IS NULL) = (answer IS NULL))
) WITH (
    -- Each row is inserted and completed in one transaction, which leaves a dead version of it.
    fillfactor = 70,
    autovacuum_vacuum_scale_factor = 0.05
);
COMMENT ON TABLE idempotency_keys IS 'The first 2xx answer to a POST. A key belongs to (tenant, user, method, path); an API key counts as user -id, a service without a user as 0';
COMMENT ON INDEX idempotency_keys_pkey IS 'claim of a key: an insert that waits for a running twin; the answer to repeat';
CREATE INDEX idempotency_keys_by_age ON idempotency_keys (created_at);
COMMENT ON INDEX idempotency_keys_by_age IS 'hub_forget_keys: what is older than the time for which an answer is repeated';
