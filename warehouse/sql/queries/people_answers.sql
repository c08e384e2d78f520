-- one row per current vote of a person, and per submission of a person that made none: task, time, money, what was
-- pre-filled or would have been (the label when the route was decided), truth of attention gold, lengths of the texts
WITH said AS (
    SELECT vote.*, voter.kind
    FROM votes AS vote JOIN voters AS voter USING (voter)
    WHERE vote.status = 'cast' AND voter.kind = 'human'
      AND NOT EXISTS (SELECT 1 FROM votes AS later WHERE later.supersedes = vote.vote_id)
),
standing AS (
    SELECT * FROM submissions
    WHERE voter IS NOT NULL AND pair_id IS NOT NULL
    QUALIFY row_number() OVER (PARTITION BY submission ORDER BY n DESC) = 1
),
of_ballots AS (
    SELECT said.ballot_id, any_value(standing) AS submission
    FROM standing JOIN said USING (vote_id) GROUP BY said.ballot_id
),
of_answers AS (
    SELECT said.ballot_id, any_value(answer.task_key) AS task_key
    FROM answers AS answer JOIN said ON said.vote_id = answer.vote_id GROUP BY said.ballot_id
),
voted AS (
    SELECT said.voter, said.ballot_id::VARCHAR AS ballot_id, said.pair_id, said.criterion,
           CASE WHEN said.is_abstention THEN 'cannot_judge' ELSE 'voted' END AS outcome, said.p_a, said.p_tie,
           said.shown_first, coalesce(of_ballots.submission.seconds, said.seconds) AS seconds, said.cost_usd,
           of_ballots.submission.is_prefilled AS is_prefilled, of_ballots.submission.is_taken_over AS is_taken_over,
           coalesce(of_ballots.submission.task_key, of_answers.task_key) AS task_key, said.round_id,
           coalesce(of_ballots.submission.said_at, said.voted_at) AS said_at
    FROM said LEFT JOIN of_ballots USING (ballot_id) LEFT JOIN of_answers USING (ballot_id)
),
asked AS (
    SELECT state.submission, any_value(vote.criterion) AS criterion
    FROM submissions AS state JOIN votes AS vote USING (vote_id) GROUP BY state.submission
),
silent AS (
    SELECT voter, submission AS ballot_id, pair_id, asked.criterion,
           CASE WHEN outcome = 'voted' THEN 'deleted' ELSE outcome END AS outcome, NULL AS p_a, NULL AS p_tie,
           NULL AS shown_first, seconds, 0.0 AS cost_usd, is_prefilled, is_taken_over, task_key, NULL AS round_id,
           said_at
    FROM standing LEFT JOIN asked USING (submission) WHERE vote_id IS NULL OR vote_id NOT IN (SELECT vote_id FROM said)
),
answered AS (SELECT * FROM voted UNION ALL SELECT * FROM silent),
lengths AS (
    SELECT pair.pair_id, length(text_a.text) AS n_chars_a, length(text_b.text) AS n_chars_b
    FROM pairs AS pair
    JOIN responses AS a ON a.response_id = pair.response_a JOIN responses AS b ON b.response_id = pair.response_b
    JOIN texts AS text_a ON text_a.text_id = a.text_id JOIN texts AS text_b ON text_b.text_id = b.text_id
    WHERE pair.pair_id IN (SELECT pair_id FROM answered)
)
SELECT answered.voter, answered.ballot_id, answered.pair_id::VARCHAR AS pair_id,
       coalesce(answered.criterion, '') AS criterion, round.dataset, round.n AS round,
       coalesce(task.purpose, 'vote') AS purpose, answered.outcome, answered.p_a, answered.p_tie,
       coalesce(answered.shown_first, task.shown_first) AS shown_first, answered.seconds, answered.cost_usd,
       coalesce(answered.is_prefilled, task.is_prefilled, false) AS is_prefilled, answered.is_taken_over,
       CASE WHEN json_valid(route.features) THEN TRY_CAST(route.features ->> '$.p_a' AS DOUBLE) END AS before_p_a,
       CASE WHEN json_valid(route.features) THEN TRY_CAST(route.features ->> '$.p_tie' AS DOUBLE) END AS before_p_tie,
       gold.p_a AS gold_p_a, gold.p_tie AS gold_p_tie, lengths.n_chars_a, lengths.n_chars_b, answered.said_at
FROM answered
LEFT JOIN tasks AS task ON task.task_key = answered.task_key
LEFT JOIN routes AS route ON route.route_id = task.route_id
LEFT JOIN rounds AS round ON round.round_id = coalesce(answered.round_id, task.round_id)
LEFT JOIN gold ON gold.pair_id = answered.pair_id AND gold.use = 'attention' AND gold.retired_at IS NULL
              AND gold.criterion = answered.criterion
LEFT JOIN lengths ON lengths.pair_id = answered.pair_id
ORDER BY answered.voter, answered.ballot_id, pair_id, criterion;
