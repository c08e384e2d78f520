-- one row per round of a dataset, newest first: its number and the version it began from
SELECT round_id::VARCHAR AS round_id, n, parent_n FROM rounds WHERE dataset = $dataset ORDER BY n DESC;
