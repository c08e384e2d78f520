-- one row per voter and habit (what is shown first wins, what is longer wins) over current votes, as of a moment, on pairs
-- that version $n labels: sums over groups of the expected win of that side; of each kind the 12 voters with most votes
WITH labelled AS (
    SELECT pair.pair_id, component.group_id, length(text_a.text) - length(text_b.text) AS difference
    FROM version_state($dataset, $n) JOIN pairs AS pair USING (pair_seq)
    JOIN components() AS component USING (prompt_id)
    JOIN responses AS a ON a.response_id = pair.response_a JOIN responses AS b ON b.response_id = pair.response_b
    JOIN texts AS text_a ON text_a.text_id = a.text_id JOIN texts AS text_b ON text_b.text_id = b.text_id
),
said AS (
    SELECT voter.kind, vote.voter, labelled.group_id, vote.shown_first, labelled.difference,
           round(vote.p_a + vote.p_tie / 2, 9) AS win
    FROM current_votes($as_of) AS vote JOIN voters AS voter USING (voter) JOIN labelled USING (pair_id)
    WHERE NOT vote.is_abstention AND vote.criterion = $criterion
),
busiest AS (
    SELECT kind, voter FROM said GROUP BY kind, voter
    QUALIFY row_number() OVER (PARTITION BY kind ORDER BY count(*) DESC, voter) <= 12
),
habits AS (
    SELECT kind, voter, group_id, 'prefer_first' AS audit, CASE WHEN shown_first = 'a' THEN win ELSE 1 - win END AS win
    FROM said WHERE shown_first IS NOT NULL
    UNION ALL
    SELECT kind, voter, group_id, 'prefer_longer', CASE WHEN difference > 0 THEN win ELSE 1 - win END
    FROM said WHERE abs(difference) > $longer
),
grouped AS (
    SELECT audit, kind, voter, group_id, sum(win) AS total, count(*) AS n
    FROM habits JOIN busiest USING (kind, voter) GROUP BY ALL
)
SELECT audit, kind, voter, sum(n)::BIGINT AS n, count(*) AS n_groups, sum(total) AS total,
       sum(total * total) AS total_total, sum(total * n) AS total_n, sum(n * n)::DOUBLE AS n_n
FROM grouped GROUP BY audit, kind, voter ORDER BY audit, kind, voter;
