-- one row per round of a dataset and what was paid for: votes of people, or calls to models of one kind
SELECT round.n AS round, 'people' AS what, count(*) AS n, 0 AS n_failed, sum(vote.cost_usd) AS cost_usd
FROM votes AS vote JOIN voters AS voter USING (voter) JOIN rounds AS round USING (round_id)
WHERE voter.kind = 'human' AND round.dataset = $dataset
GROUP BY round.n
UNION ALL
SELECT round, kind, sum(n_calls)::BIGINT, sum(n_failed)::BIGINT, sum(cost_usd)
FROM ledger WHERE dataset = $dataset
GROUP BY round, kind
ORDER BY round, what;
