-- one row per vote that an expert gave on a task sent to be adjudicated, in any of its states
SELECT DISTINCT said.vote_id::VARCHAR AS vote_id
FROM tasks AS task
JOIN rounds AS round USING (round_id)
JOIN (SELECT task_key, vote_id::UUID AS vote_id FROM answers WHERE vote_id IS NOT NULL
      UNION SELECT task_key, vote_id FROM submissions WHERE vote_id IS NOT NULL) AS said ON said.task_key = task.task_key
WHERE round.dataset = $dataset AND task.purpose = 'adjudicate'
ORDER BY vote_id;
