-- one row per calibrate-gold pair of a criterion in scope, with its truth, when it came, group, category and texts
SELECT gold.pair_id::VARCHAR AS pair_id, gold.use, gold.p_a, gold.p_tie, gold.added_at, pair.group_id, prompt.category,
       pair.prompt_id::VARCHAR AS prompt_id, pair.prompt_text_id::VARCHAR AS prompt_text_id,
       pair.text_id_a::VARCHAR AS text_id_a, pair.text_id_b::VARCHAR AS text_id_b,
       prompt.system, prompt_text.text AS prompt, text_a.text AS text_a, text_b.text AS text_b
FROM gold JOIN scope($sources::VARCHAR[]) AS pair USING (pair_id)
JOIN prompts AS prompt ON prompt.prompt_id = pair.prompt_id
JOIN texts AS prompt_text ON prompt_text.text_id = pair.prompt_text_id
JOIN texts AS text_a ON text_a.text_id = pair.text_id_a
JOIN texts AS text_b ON text_b.text_id = pair.text_id_b
WHERE gold.use = 'calibrate' AND gold.retired_at IS NULL AND gold.criterion = $criterion
  AND pair.text_id_a <> pair.text_id_b
ORDER BY gold.pair_id;
