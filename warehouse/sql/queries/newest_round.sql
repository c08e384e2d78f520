-- one row per round of a dataset, newest first: its number, its recipe and the version it began from
SELECT round_id::VARCHAR AS round_id, n, parent_n, recipe_fingerprint FROM rounds WHERE dataset = $dataset ORDER BY n DESC;
