-- one row per task on a platform outside that shows text $text_id
SELECT task.system, task.external_id, task.task_key::VARCHAR AS task_key
FROM tasks AS task
JOIN pairs AS pair ON pair.pair_id = task.pair_id
JOIN prompts AS prompt USING (prompt_id)
JOIN responses AS a ON a.response_id = pair.response_a
JOIN responses AS b ON b.response_id = pair.response_b
WHERE task.external_id IS NOT NULL AND $text_id::UUID IN (prompt.text_id, a.text_id, b.text_id)
ORDER BY task.system, task.external_id;
