-- one row per round of a dataset: what it may spend on people
SELECT round_id::VARCHAR AS round_id, budget_votes, budget_usd,
       TRY_CAST(json_extract_string(recipe, '$.routing.budget_hours') AS DOUBLE) AS budget_hours
FROM rounds WHERE dataset = $dataset ORDER BY n;
