-- one row per pair that people were asked about for a dataset and have not answered
SELECT DISTINCT route.pair_id::VARCHAR AS pair_id
FROM routes AS route
JOIN rounds AS round USING (round_id)
LEFT JOIN tasks AS task ON task.route_id = route.route_id
LEFT JOIN answers AS answer ON answer.task_key = task.task_key
WHERE round.dataset = $dataset AND route."to" IN ('human', 'expert') AND answer.task_key IS NULL
ORDER BY pair_id;
