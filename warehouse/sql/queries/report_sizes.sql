-- one row: what a dataset's sources hold, what it may learn from, and what version $n labels and keeps
WITH mine AS (
    SELECT pair.prompt_id, pair.pair_id, pair.response_a, pair.response_b FROM pairs AS pair
    WHERE len($sources::VARCHAR[]) = 0
       OR pair.pair_id IN (SELECT pair_id FROM pair_sources WHERE list_contains($sources::VARCHAR[], source))
),
labelled AS (
    SELECT pair.pair_id, pair.prompt_id, state.action, round(state.p_a + state.p_tie / 2, 9) AS win
    FROM version_state($dataset, $n) AS state JOIN pairs AS pair USING (pair_seq)
),
answered AS (
    SELECT DISTINCT vote.pair_id FROM current_votes($as_of) AS vote JOIN voters AS voter USING (voter)
    WHERE voter.kind = 'human' AND NOT vote.is_abstention
)
SELECT (SELECT count(DISTINCT prompt_id) FROM mine) AS n_prompts,
       (SELECT count(DISTINCT response_id) FROM (
            SELECT response_a AS response_id FROM mine UNION ALL SELECT response_b FROM mine)) AS n_responses,
       (SELECT count(*) FROM mine) AS n_pairs,
       (SELECT count(*) FROM scope($sources::VARCHAR[])) AS n_in_scope,
       count(*) AS n_labelled, count(*) FILTER (WHERE action <> 'drop') AS n_kept,
       count(DISTINCT prompt_id) FILTER (WHERE action <> 'drop') AS n_prompts_kept,
       count(*) FILTER (WHERE action <> 'drop' AND win <> 0.5) AS n_decided,
       count(*) FILTER (WHERE action <> 'drop' AND pair_id IN (SELECT pair_id FROM answered)) AS n_with_people
FROM labelled;
