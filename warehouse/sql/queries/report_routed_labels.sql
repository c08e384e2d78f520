-- one row per pair that a round routed: its label in version $n
SELECT DISTINCT pair.pair_id::VARCHAR AS pair_id, $round_id AS round_id, state.p_a, state.p_tie
FROM version_state($dataset, $n) AS state
JOIN pairs AS pair USING (pair_seq)
JOIN routes AS route ON route.pair_id = pair.pair_id
WHERE route.round_id = $round_id::UUID
ORDER BY pair_id;
