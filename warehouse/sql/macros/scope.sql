-- one row per pair that a dataset may learn from: held by its sources (by any when none is named), outside the gate's groups,
-- no text of it erased
CREATE OR REPLACE TEMP MACRO scope(of_sources) AS TABLE
SELECT pair.*, component.group_id, prompt.text_id AS prompt_text_id, a.text_id AS text_id_a, b.text_id AS text_id_b
FROM pairs AS pair
JOIN prompts AS prompt USING (prompt_id)
JOIN components() AS component USING (prompt_id)
JOIN responses AS a ON a.response_id = pair.response_a
JOIN responses AS b ON b.response_id = pair.response_b
WHERE (len(of_sources) = 0
       OR pair.pair_id IN (SELECT pair_id FROM pair_sources WHERE list_contains(of_sources, source)))
  AND component.group_id NOT IN (SELECT group_id FROM gate_groups())
  AND NOT EXISTS (SELECT 1 FROM tombstones AS gone
                  WHERE gone.what = 'text' AND try_cast(gone.row_id AS UUID) IN (prompt.text_id, a.text_id, b.text_id));
