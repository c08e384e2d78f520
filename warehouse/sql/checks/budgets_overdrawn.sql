-- one row per round that asked people more often, or for more money, than its budget; what ended without a vote is not paid
SELECT round.round_id::VARCHAR AS round_id, round.budget_votes, count(*) AS n_routes, sum(route.cost_usd) AS usd
FROM rounds AS round JOIN routes AS route USING (round_id)
WHERE route."to" IN ('human', 'expert')
  AND NOT EXISTS (SELECT 1 FROM tasks AS task JOIN answers AS answer USING (task_key)
                  WHERE task.route_id = route.route_id AND answer.outcome <> 'voted')
GROUP BY ALL
HAVING count(*) > round.budget_votes OR sum(route.cost_usd) > round.budget_usd + 1e-9;
