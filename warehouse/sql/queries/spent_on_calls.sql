-- one row: what the calls of a round cost so far
SELECT coalesce(sum(cost_usd), 0.0) AS cost_usd FROM calls WHERE round_id = $round_id;
