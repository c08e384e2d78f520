-- one row per pair of a version of which a text was erased
SELECT pair.pair_id::VARCHAR AS pair_id
FROM version_state($dataset, $n) AS state
JOIN pairs AS pair USING (pair_seq)
JOIN prompts AS prompt USING (prompt_id)
JOIN responses AS a ON a.response_id = pair.response_a
JOIN responses AS b ON b.response_id = pair.response_b
WHERE EXISTS (SELECT 1 FROM tombstones AS gone
              WHERE gone.what = 'text' AND try_cast(gone.row_id AS UUID) IN (prompt.text_id, a.text_id, b.text_id))
ORDER BY pair_id;
