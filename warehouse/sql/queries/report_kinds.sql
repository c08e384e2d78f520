-- one row per kind of voter: its current votes, as of a moment, on the pairs that version $n of a dataset labels
SELECT voter.kind, count(DISTINCT vote.voter) AS voters, count(*) AS votes, count(DISTINCT vote.pair_id) AS pairs,
       count(*) FILTER (WHERE vote.is_abstention) AS abstentions, count(*) FILTER (WHERE vote.p_tie > 0.5) AS ties,
       avg(CASE WHEN vote.shown_first = 'a' THEN vote.p_a + vote.p_tie / 2
                WHEN vote.shown_first = 'b' THEN 1 - vote.p_a - vote.p_tie / 2 END) AS first_slot,
       sum(vote.cost_usd) AS cost_usd
FROM current_votes($as_of) AS vote JOIN voters AS voter USING (voter)
WHERE vote.pair_id IN (SELECT pair.pair_id FROM version_state($dataset, $n) JOIN pairs AS pair USING (pair_seq))
GROUP BY voter.kind
ORDER BY voter.kind;
