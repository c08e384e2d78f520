-- one row per gate decision of a dataset: the recipe of its round, and the version that the round released
SELECT round.n AS round, round.recipe,
       (SELECT max(version.n) FROM versions AS version WHERE version.round_id = round.round_id) AS version
FROM promotions AS promotion JOIN rounds AS round USING (round_id)
WHERE round.dataset = $dataset ORDER BY round.n;
