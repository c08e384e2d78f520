-- what erasure leaves behind: that something was erased, when and why

-- one row per text or voter that was erased
CREATE TABLE tombstones (
    what VARCHAR NOT NULL,
    row_id VARCHAR NOT NULL,
    salt VARCHAR,
    reason VARCHAR NOT NULL,
    n_rows BIGINT NOT NULL,
    versions VARCHAR NOT NULL,
    erased_at TIMESTAMPTZ NOT NULL
);
