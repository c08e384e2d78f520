-- one row per two kinds of voters, or kind and label: how often their mean opinion names the same outcome of a pair
WITH labelled AS (
    SELECT pair.pair_id, state.p_a, state.p_tie
    FROM version_state($dataset, $n) AS state JOIN pairs AS pair USING (pair_seq)
),
means AS (
    SELECT voter.kind, vote.pair_id, avg(vote.p_a) AS p_a, avg(vote.p_tie) AS p_tie
    FROM current_votes($as_of) AS vote JOIN voters AS voter USING (voter)
    WHERE NOT vote.is_abstention AND vote.criterion = $criterion AND vote.pair_id IN (SELECT pair_id FROM labelled)
    GROUP BY voter.kind, vote.pair_id
    UNION ALL
    SELECT 'label', pair_id, p_a, p_tie FROM labelled
),
named AS (
    SELECT kind, pair_id,
           CASE WHEN round(p_a, 9) > greatest(round(p_tie, 9), round(1 - p_a - p_tie, 9)) THEN 'a'
                WHEN round(1 - p_a - p_tie, 9) > greatest(round(p_tie, 9), round(p_a, 9)) THEN 'b'
                ELSE 'tie' END AS outcome
    FROM means
)
SELECT x.kind AS kind, y.kind AS other, count(*) AS pairs, avg((x.outcome = y.outcome)::INTEGER) AS agree
FROM named AS x JOIN named AS y ON y.pair_id = x.pair_id
WHERE x.kind <> 'label' AND (y.kind = 'label' OR x.kind < y.kind)
GROUP BY x.kind, y.kind ORDER BY x.kind, y.kind = 'label', y.kind;
