-- one row per task of a dataset that has not come to an end, with the texts it shows
SELECT task.task_key::VARCHAR AS task_key, task.pair_id::VARCHAR AS pair_id, task.round_id::VARCHAR AS round_id,
       task.shown_first, task.external_id, coalesce(task.purpose, 'vote') AS purpose,
       coalesce(json_extract_string(pair.prompt, '$[#-1].content'), pair.prompt) AS prompt, pair.text_a, pair.text_b
FROM tasks AS task
JOIN rounds AS round USING (round_id)
JOIN pairs_with_texts() AS pair ON pair.pair_id = task.pair_id
WHERE round.dataset = $dataset AND task.recalled_at IS NULL
  AND NOT EXISTS (SELECT 1 FROM answers AS answer WHERE answer.task_key = task.task_key)
ORDER BY task_key;
