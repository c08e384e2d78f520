-- one row per route to a person of a dataset, with its round and how its task ended; outcome null: still open
SELECT route.route_id::VARCHAR AS route_id, route.pair_id::VARCHAR AS pair_id, route.round_id::VARCHAR AS round_id,
       route."to", route.ordinal, route.expected_gain, route.cost_usd, route.propensity, route.is_audit, route.reason,
       route.features, round.n, answer.outcome
FROM routes AS route
JOIN rounds AS round USING (round_id)
LEFT JOIN tasks AS task ON task.route_id = route.route_id
LEFT JOIN answers AS answer ON answer.task_key = task.task_key
WHERE round.dataset = $dataset AND route."to" IN ('human', 'expert')
ORDER BY route_id;
