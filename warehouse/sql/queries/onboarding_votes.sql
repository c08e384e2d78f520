-- one row per annotator and pair of an onboarding task that was voted on
SELECT DISTINCT said.voter, task.pair_id::VARCHAR AS pair_id
FROM submissions AS said JOIN tasks AS task USING (task_key)
WHERE task.purpose = 'onboarding' AND said.outcome = 'voted' AND said.voter IS NOT NULL
ORDER BY ALL;
