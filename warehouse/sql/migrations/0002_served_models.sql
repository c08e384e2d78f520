-- what served models bring: log probability of a response, examinations of judges, policies, rubrics, discards
ALTER TABLE calls ADD COLUMN logprob_sum DOUBLE;

-- one row per result of one judge in one domain of one examination
CREATE TABLE exams (
    voter VARCHAR NOT NULL,
    instrument VARCHAR NOT NULL,
    exam UUID NOT NULL,
    domain VARCHAR NOT NULL,
    metric VARCHAR NOT NULL,
    value DOUBLE NOT NULL,
    low DOUBLE NOT NULL,
    high DOUBLE NOT NULL,
    n BIGINT NOT NULL,
    n_groups BIGINT NOT NULL,
    flip_rate DOUBLE,
    first_rate DOUBLE,
    failure_rate DOUBLE NOT NULL,
    threshold DOUBLE,
    is_passed BOOLEAN NOT NULL,
    examined_at TIMESTAMPTZ NOT NULL
);

-- one row per author of responses
CREATE TABLE policies (
    policy VARCHAR NOT NULL,
    model VARCHAR NOT NULL,
    revision VARCHAR,
    system VARCHAR,
    licence VARCHAR,
    may_redistribute BOOLEAN
);

-- one row per rubric, checklist, principle list, reference or attribute list written for a prompt or pair
CREATE TABLE rubrics (
    rubric_id UUID NOT NULL,
    kind VARCHAR NOT NULL,
    prompt_id UUID NOT NULL,
    pair_id UUID,
    text_id UUID NOT NULL,
    author VARCHAR NOT NULL,
    call_key UUID,
    is_accepted BOOLEAN NOT NULL,
    reason VARCHAR NOT NULL,
    round_id UUID
);

-- one row per prompt, response or pair left out by a stage, with the reason
CREATE TABLE discards (
    discard_id UUID NOT NULL,
    what VARCHAR NOT NULL,
    row_id VARCHAR NOT NULL,
    stage VARCHAR NOT NULL,
    reason VARCHAR NOT NULL,
    detail VARCHAR,
    round_id UUID
);
