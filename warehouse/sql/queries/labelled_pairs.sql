-- one row per pair in scope that version `n` of a dataset keeps: its label, group and texts; derived pairs left out
SELECT pair.pair_id::VARCHAR AS pair_id, pair.prompt_id::VARCHAR AS prompt_id, pair.group_id,
       pair.response_a::VARCHAR AS response_a, pair.response_b::VARCHAR AS response_b, pair.source,
       prompt.text AS prompt, coalesce(json_extract_string(prompt.text, '$[#-1].content'), prompt.text) AS question,
       text_a.text AS text_a, text_b.text AS text_b, label.p_a, label.p_tie
FROM version_state($dataset, $n) AS label
JOIN scope($sources::VARCHAR[]) AS pair USING (pair_seq)
JOIN texts AS prompt ON prompt.text_id = pair.prompt_text_id
JOIN texts AS text_a ON text_a.text_id = pair.text_id_a
JOIN texts AS text_b ON text_b.text_id = pair.text_id_b
WHERE label.action <> 'drop' AND NOT starts_with(pair.origin, 'augmented:')
ORDER BY pair_id;
