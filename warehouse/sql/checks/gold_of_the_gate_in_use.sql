-- one row per pair of a gate-gold group that was labelled, or is put before a person
SELECT 'labels' AS in_table, pair.pair_id::VARCHAR AS pair_id
FROM labels AS label JOIN pairs AS pair USING (pair_seq) JOIN components() AS component USING (prompt_id)
WHERE label.action <> 'drop' AND component.group_id IN (SELECT group_id FROM gate_groups())
UNION ALL
SELECT 'tasks', task.pair_id::VARCHAR
FROM tasks AS task JOIN pairs AS pair ON pair.pair_id = task.pair_id
JOIN components() AS component USING (prompt_id)
WHERE component.group_id IN (SELECT group_id FROM gate_groups())
  AND NOT EXISTS (SELECT 1 FROM answers AS answer WHERE answer.task_key = task.task_key AND answer.outcome = 'recalled');
