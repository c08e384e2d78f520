-- one row per pair that has a task which nobody has answered and nobody has taken back
SELECT DISTINCT task.pair_id::VARCHAR AS pair_id
FROM tasks AS task
WHERE task.recalled_at IS NULL
  AND NOT EXISTS (SELECT 1 FROM answers AS answer WHERE answer.task_key = task.task_key)
  AND NOT EXISTS (SELECT 1 FROM submissions AS said WHERE said.task_key = task.task_key)
ORDER BY pair_id;
