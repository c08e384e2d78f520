-- one row per round of a dataset, newest first: its number, its recipe, the version it began from, how it was ended
SELECT round_id::VARCHAR AS round_id, round.n, round.parent_n, round.recipe_fingerprint,
       coalesce(promotion.reason = 'abandoned by its owner', false) AS is_given_up
FROM rounds AS round LEFT JOIN promotions AS promotion USING (round_id)
WHERE round.dataset = $dataset ORDER BY round.n DESC;
