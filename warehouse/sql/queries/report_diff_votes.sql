-- one row per pair of a list, voter and outcome of what it said between two vote numbers, newest state of each vote
SELECT vote.pair_id::VARCHAR AS pair_id, voter.kind, vote.voter,
       CASE WHEN vote.status = 'retracted' THEN 'taken back'
            WHEN vote.is_abstention THEN 'abstains'
            WHEN round(vote.p_a, 9) > greatest(round(vote.p_tie, 9), round(1 - vote.p_a - vote.p_tie, 9)) THEN 'a'
            WHEN round(1 - vote.p_a - vote.p_tie, 9) > greatest(round(vote.p_tie, 9), round(vote.p_a, 9)) THEN 'b'
            ELSE 'tie' END AS said,
       count(*) AS n
FROM votes AS vote JOIN voters AS voter USING (voter)
WHERE vote.pair_id IN (SELECT unnest($pairs::UUID[])) AND vote.status IN ('cast', 'retracted')
  AND vote.seq > $after AND vote.seq <= $upto
  AND NOT EXISTS (SELECT 1 FROM votes AS later WHERE later.supersedes = vote.vote_id AND later.seq <= $upto)
GROUP BY vote.pair_id, voter.kind, vote.voter, said
QUALIFY row_number() OVER (PARTITION BY vote.pair_id ORDER BY voter.kind, vote.voter, said) <= 12
ORDER BY pair_id, voter.kind, vote.voter, said;
