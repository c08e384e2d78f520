-- one row per response of gate gold of a criterion and the named sources, with its conversation; no truth is told
WITH sides AS (
    SELECT DISTINCT unnest([pair.response_a, pair.response_b]) AS response_id
    FROM gold JOIN pairs AS pair USING (pair_id)
    WHERE gold.use = 'gate' AND gold.retired_at IS NULL AND gold.criterion = $criterion
      AND (len($sources::VARCHAR[]) = 0
           OR pair.pair_id IN (SELECT pair_id FROM pair_sources WHERE list_contains($sources::VARCHAR[], source)))
)
SELECT response.response_id::VARCHAR AS response_id, prompt_text.text AS prompt, prompt.system, said.text AS response
FROM sides JOIN responses AS response USING (response_id)
JOIN prompts AS prompt USING (prompt_id)
JOIN texts AS prompt_text ON prompt_text.text_id = prompt.text_id
JOIN texts AS said ON said.text_id = response.text_id
WHERE NOT EXISTS (SELECT 1 FROM tombstones AS gone
                  WHERE gone.what = 'text' AND try_cast(gone.row_id AS UUID) IN (prompt.text_id, response.text_id))
ORDER BY response_id;
