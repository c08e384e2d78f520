-- one row per route of a dataset: the decision, and price and time of the vote it brought, null where none came
SELECT route.route_id::VARCHAR AS route_id, route.pair_id::VARCHAR AS pair_id, route.round_id::VARCHAR AS round_id,
       route."to", route.ordinal, route.expected_gain, route.cost_usd, route.propensity, route.is_audit, route.reason,
       route.features, round.n AS round, brought.cost_usd AS paid_usd, brought.seconds
FROM routes AS route
JOIN rounds AS round USING (round_id)
LEFT JOIN (
    SELECT task.route_id, any_value(vote.cost_usd) AS cost_usd, any_value(vote.seconds) AS seconds
    FROM tasks AS task
    JOIN answers AS answer ON answer.task_key = task.task_key
    JOIN votes AS vote ON vote.vote_id::VARCHAR = answer.vote_id
    GROUP BY task.route_id
) AS brought ON brought.route_id = route.route_id
WHERE round.dataset = $dataset
ORDER BY route_id;
