-- one row per route to a person that has no task yet, whichever round decided it
SELECT route.route_id::VARCHAR AS route_id, route.pair_id::VARCHAR AS pair_id, route.round_id::VARCHAR AS round_id,
       route."to", round.n, route.is_audit, route.expected_gain, route.reason
FROM routes AS route JOIN rounds AS round USING (round_id)
WHERE round.dataset = $dataset AND route."to" IN ('human', 'expert')
  AND route.pair_id IN (SELECT pair_id FROM scope($sources::VARCHAR[]))
  AND NOT EXISTS (SELECT 1 FROM tasks AS task WHERE task.route_id = route.route_id)
ORDER BY route_id;
