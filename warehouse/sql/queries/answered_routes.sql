-- one row per answered route of a dataset: the route as it was decided, and what the person said
SELECT route.route_id::VARCHAR AS route_id, route.pair_id::VARCHAR AS pair_id, route.round_id::VARCHAR AS round_id,
       route."to", route.ordinal, route.expected_gain, route.cost_usd, route.propensity, route.is_audit, route.reason,
       route.features, vote.p_a AS said_p_a, vote.p_tie AS said_p_tie
FROM routes AS route
JOIN rounds AS round USING (round_id)
JOIN tasks AS task ON task.route_id = route.route_id
JOIN answers AS answer ON answer.task_key = task.task_key
JOIN votes AS vote ON vote.vote_id::VARCHAR = answer.vote_id
WHERE round.dataset = $dataset
ORDER BY route_id;
