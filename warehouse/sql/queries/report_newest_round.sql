-- one row: the newest round of a dataset, its recipe and the stages it has finished, comma between
SELECT round.n, round.recipe, round.opened_at, promotion.round_id IS NULL AS is_open,
       (SELECT string_agg(stage.stage, ', ' ORDER BY stage.finished_at, stage.stage) FROM round_stages AS stage
        WHERE stage.round_id = round.round_id) AS stages
FROM rounds AS round LEFT JOIN promotions AS promotion USING (round_id)
WHERE round.dataset = $dataset ORDER BY round.n DESC LIMIT 1;
