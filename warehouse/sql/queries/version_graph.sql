-- one row per labelled pair of a version that somebody voted on: which responses met, and its label
SELECT pair.pair_id::VARCHAR AS pair_id, pair.prompt_id::VARCHAR AS prompt_id,
       pair.response_a::VARCHAR AS response_a, pair.response_b::VARCHAR AS response_b,
       state.p_a, state.p_tie, state.p_sd, state.n_votes
FROM version_state($dataset, $n) AS state JOIN pairs AS pair USING (pair_seq)
WHERE state.action <> 'drop' AND state.n_votes > 0
ORDER BY pair_id;
