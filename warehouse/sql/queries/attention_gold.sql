-- one row per pair of attention gold of a criterion in scope, with its truth and when it came
SELECT gold.pair_id::VARCHAR AS pair_id, gold.p_a, gold.p_tie, gold.added_at
FROM gold
WHERE gold.use = 'attention' AND gold.retired_at IS NULL AND gold.criterion = $criterion
  AND gold.pair_id IN (SELECT pair_id FROM scope($sources::VARCHAR[]))
ORDER BY pair_id;
