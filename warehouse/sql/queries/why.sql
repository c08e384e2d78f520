-- one row per thing that happened to a pair: votes, routes, answers, labels; round by round, in the order of the loop
WITH happened AS (
    SELECT vote.round_id, CASE WHEN voter.kind = 'human' THEN 4 ELSE 1 END AS step, 'vote' AS what, vote.voter AS who,
           CASE WHEN vote.is_abstention THEN 'abstains: ' || coalesce(vote.evidence, '')
                ELSE printf('p_a %.3f, p_tie %.3f', vote.p_a, vote.p_tie) END AS said,
           vote.status || coalesce(', shown first: ' || vote.shown_first, '') AS detail, vote.cost_usd
    FROM votes AS vote LEFT JOIN voters AS voter USING (voter)
    WHERE vote.pair_id = $pair_id::UUID AND vote.status <> 'recorded'
    UNION ALL
    SELECT round_id, 2, 'route', "to", reason, printf('gain %.4f, propensity %.4f', expected_gain, propensity), cost_usd
    FROM routes WHERE pair_id = $pair_id::UUID
    UNION ALL
    SELECT task.round_id, 3, 'answer', task.queue, answer.outcome, 'shown first: ' || task.shown_first, NULL
    FROM answers AS answer JOIN tasks AS task USING (task_key) WHERE task.pair_id = $pair_id::UUID
    UNION ALL
    SELECT NULL, 0, 'gold', use, printf('p_a %.3f, p_tie %.3f', p_a, p_tie), why, NULL
    FROM gold WHERE pair_id = $pair_id::UUID
    UNION ALL
    SELECT version.round_id, 5, 'label', version.dataset || '@' || version.n,
           printf('p_a %.3f, p_tie %.3f, strength %d', label.p_a, label.p_tie, label.strength::INTEGER),
           label.action || CASE WHEN label.reason <> '' THEN ': ' || label.reason ELSE '' END, NULL
    FROM labels AS label JOIN versions AS version USING (label_set) JOIN pairs AS pair USING (pair_seq)
    WHERE pair.pair_id = $pair_id::UUID
)
SELECT round.dataset || ' ' || round.n AS round, what, who, said, detail, happened.cost_usd
FROM happened LEFT JOIN rounds AS round USING (round_id)
ORDER BY coalesce(round.n, 0), round.dataset, step, who, said;
