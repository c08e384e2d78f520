-- one row: the reward model promoted last for a dataset, none before the first promotion
SELECT model.model, model.kind, model.family, model.base, model.dataset, model.trained_on, model.uri, model.sha256,
       model.config
FROM promotions AS promotion
JOIN rounds AS round USING (round_id)
JOIN models AS model ON model.model = promotion.candidate
WHERE promotion.verdict = 'promoted' AND round.dataset = $dataset
ORDER BY round.n DESC
LIMIT 1;
