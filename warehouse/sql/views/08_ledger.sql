-- one row per round, asked name and kind of call: calls, failures, tokens, seconds, money
SELECT round.dataset, round.n AS round, call.voter AS asked, call.kind, count(*) AS n_calls,
       count(*) FILTER (WHERE call.finish_reason <> 'stop') AS n_failed,
       sum(call.prompt_tokens)::BIGINT AS prompt_tokens, sum(call.output_tokens)::BIGINT AS output_tokens,
       sum(call.seconds) AS seconds, sum(call.cost_usd) AS cost_usd
FROM calls AS call LEFT JOIN rounds AS round USING (round_id)
GROUP BY ALL
ORDER BY round.dataset, round.n, call.voter, call.kind;
