-- what annotation platforms bring: purpose of a task, states of submissions, readings of changes
ALTER TABLE tasks ADD COLUMN purpose VARCHAR;

-- one row per state of what one person submitted for one task on an annotation platform
CREATE TABLE submissions (
    submission VARCHAR NOT NULL,
    n BIGINT NOT NULL,
    revision UUID NOT NULL,
    task_key UUID,
    pair_id UUID,
    external_id VARCHAR,
    voter VARCHAR,
    outcome VARCHAR NOT NULL,
    vote_id UUID,
    seconds DOUBLE,
    is_prefilled BOOLEAN NOT NULL,
    is_taken_over BOOLEAN,
    reason VARCHAR,
    said_at TIMESTAMPTZ,
    pulled_at TIMESTAMPTZ NOT NULL
);

-- one row per reading of changes from an annotation platform
CREATE TABLE pulls (
    pull_id UUID NOT NULL,
    system VARCHAR NOT NULL,
    project VARCHAR NOT NULL,
    watermark_at TIMESTAMPTZ,
    n_seen BIGINT NOT NULL,
    n_new BIGINT NOT NULL,
    pulled_at TIMESTAMPTZ NOT NULL
);
