-- one row per current vote of a kind of voter, as of a moment, on those pairs of version $n that two such voters or more
-- have an opinion on; of more than $n_pairs pairs those with the smallest ids, which is a random draw: ids are hashes
WITH mine AS (
    SELECT vote.* FROM current_votes($as_of) AS vote JOIN voters AS voter USING (voter)
    WHERE voter.kind = $kind AND vote.criterion = $criterion
      AND vote.pair_id IN (SELECT pair.pair_id FROM version_state($dataset, $n) JOIN pairs AS pair USING (pair_seq))
),
shared AS (
    SELECT pair_id FROM mine WHERE NOT is_abstention
    GROUP BY pair_id HAVING count(DISTINCT voter) >= 2 ORDER BY pair_id LIMIT $n_pairs
)
SELECT mine.vote_id::VARCHAR AS vote_id, mine.ballot_id::VARCHAR AS ballot_id, mine.pair_id::VARCHAR AS pair_id,
       mine.voter, mine.p_a, mine.p_tie, mine.is_abstention, mine.n, mine.shown_first, mine.criterion, mine.cost_usd,
       mine.status, component.group_id
FROM mine JOIN shared USING (pair_id) JOIN pairs AS pair USING (pair_id) JOIN components() AS component USING (prompt_id)
ORDER BY vote_id;
