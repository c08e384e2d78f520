-- one row per finished stage of a round
SELECT stage, n_rows, as_of, finished_at FROM round_stages WHERE round_id = $round_id::UUID ORDER BY stage;
