-- one row per task of a dataset: where it is, what it is for, whether it is still open
SELECT task.task_key::VARCHAR AS task_key, task.pair_id::VARCHAR AS pair_id, task.route_id::VARCHAR AS route_id,
       task.round_id::VARCHAR AS round_id, task.queue, task.shown_first, task.is_prefilled, task.system,
       task.external_id, pair.response_a::VARCHAR AS response_a,
       pair.response_b::VARCHAR AS response_b, coalesce(task.purpose, 'vote') AS purpose, answer.task_key IS NULL AS is_open,
       coalesce(task.purpose, 'vote') IN ('gold', 'onboarding') AS is_gold, coalesce(route.is_audit, false) AS is_audit,
       coalesce(promotion.reason = 'abandoned by its owner', false) AS is_given_up,
       json_extract_string(round.recipe, '$.criterion') AS criterion,
       coalesce(json_extract_string(round.recipe, '$.people.guideline'), 'guideline@1') AS guideline
FROM tasks AS task
JOIN rounds AS round USING (round_id)
JOIN pairs AS pair ON pair.pair_id = task.pair_id
LEFT JOIN routes AS route ON route.route_id = task.route_id
LEFT JOIN promotions AS promotion ON promotion.round_id = task.round_id
LEFT JOIN answers AS answer ON answer.task_key = task.task_key
WHERE round.dataset = $dataset
ORDER BY task_key;
