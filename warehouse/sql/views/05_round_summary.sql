-- one row per round: what it was given, what it bought, what came of it
SELECT round.dataset, round.n, round.budget_votes,
       (SELECT count(*) FROM routes AS route WHERE route.round_id = round.round_id) AS n_routes,
       (SELECT count(*) FROM routes AS route WHERE route.round_id = round.round_id AND route.is_audit) AS n_audits,
       (SELECT count(*) FROM answers AS answer JOIN tasks AS task USING (task_key)
        WHERE task.round_id = round.round_id AND answer.outcome = 'voted') AS n_bought,
       (SELECT count(*) FROM calls AS call WHERE call.round_id = round.round_id) AS n_calls,
       (SELECT coalesce(sum(cost_usd), 0) FROM calls AS call WHERE call.round_id = round.round_id) AS call_usd,
       (SELECT coalesce(sum(vote.cost_usd), 0) FROM votes AS vote JOIN voters AS voter USING (voter)
        WHERE vote.round_id = round.round_id AND voter.kind = 'human') AS human_usd,
       (SELECT max(version.n) FROM versions AS version WHERE version.round_id = round.round_id) AS version,
       promotion.verdict, promotion.d, promotion.low, promotion.n_pairs AS n_gold, promotion.reason,
       CASE WHEN promotion.verdict IS NULL AND NOT EXISTS (
           SELECT 1 FROM round_stages AS done WHERE done.round_id = round.round_id AND done.stage = 'gate'
       ) THEN 'open' ELSE 'closed' END AS state
FROM rounds AS round LEFT JOIN promotions AS promotion USING (round_id)
ORDER BY round.dataset, round.n;
