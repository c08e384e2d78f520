-- one row per kind of voter and policy (10 with most pairs): its win rate by that kind's votes, and by the label of the same
-- pairs, over kept pairs of version $n between two policies
WITH kept AS (
    SELECT pair.pair_id, state.p_a + state.p_tie / 2 AS label_win, a.policy AS policy_a, b.policy AS policy_b
    FROM version_state($dataset, $n) AS state JOIN pairs AS pair USING (pair_seq)
    JOIN responses AS a ON a.response_id = pair.response_a JOIN responses AS b ON b.response_id = pair.response_b
    WHERE state.action <> 'drop' AND a.policy <> b.policy
),
opinions AS (
    SELECT voter.kind, vote.pair_id, avg(vote.p_a + vote.p_tie / 2) AS win
    FROM current_votes($as_of) AS vote JOIN voters AS voter USING (voter)
    WHERE NOT vote.is_abstention AND vote.criterion = $criterion AND vote.pair_id IN (SELECT pair_id FROM kept)
    GROUP BY voter.kind, vote.pair_id
),
sides AS (
    SELECT kind, policy_a AS policy, win, label_win FROM kept JOIN opinions USING (pair_id)
    UNION ALL
    SELECT kind, policy_b, 1 - win, 1 - label_win FROM kept JOIN opinions USING (pair_id)
),
shown AS (SELECT policy FROM sides GROUP BY policy ORDER BY count(*) DESC, policy LIMIT 10)
SELECT policy, kind, count(*) AS pairs, avg(round(win, 9)) AS by_votes, avg(round(label_win, 9)) AS by_labels
FROM sides WHERE policy IN (SELECT policy FROM shown)
GROUP BY policy, kind ORDER BY policy, kind;
