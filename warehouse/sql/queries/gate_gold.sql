-- one row per gate-gold pair of a criterion and the named sources, with its truth and group; read by evaluate and gate only
SELECT gold.pair_id::VARCHAR AS pair_id, component.group_id, gold.p_a, gold.p_tie
FROM gold JOIN pairs AS pair USING (pair_id) JOIN components() AS component USING (prompt_id)
JOIN prompts AS prompt USING (prompt_id)
JOIN responses AS a ON a.response_id = pair.response_a
JOIN responses AS b ON b.response_id = pair.response_b
WHERE gold.use = 'gate' AND gold.retired_at IS NULL AND gold.criterion = $criterion
  AND (len($sources::VARCHAR[]) = 0
       OR pair.pair_id IN (SELECT pair_id FROM pair_sources WHERE list_contains($sources::VARCHAR[], source)))
  AND NOT EXISTS (SELECT 1 FROM tombstones AS gone
                  WHERE gone.what = 'text' AND try_cast(gone.row_id AS UUID) IN (prompt.text_id, a.text_id, b.text_id))
ORDER BY pair_id;
