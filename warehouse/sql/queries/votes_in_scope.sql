-- one row per current vote of a criterion on a pair in scope, as of a moment; of voters that are asked (models by calls,
-- programs), only those of `panel` (voter, instrument)
SELECT vote.vote_id::VARCHAR AS vote_id, vote.ballot_id::VARCHAR AS ballot_id, vote.pair_id::VARCHAR AS pair_id,
       vote.voter, vote.p_a, vote.p_tie, vote.strength, vote.is_abstention, vote.n, vote.shown_first, vote.criterion,
       vote.instrument, vote.rationale, vote.evidence, vote.confidence, vote.seconds, vote.cost_usd,
       vote.call_key::VARCHAR AS call_key, vote.external_ref, vote.status, vote.supersedes::VARCHAR AS supersedes,
       vote.round_id::VARCHAR AS round_id, vote.voted_at
FROM current_votes($as_of) AS vote
WHERE vote.criterion = $criterion
  AND ((vote.call_key IS NULL AND vote.voter NOT IN (SELECT voter FROM voters WHERE kind = 'verifier'))
       OR (vote.voter, vote.instrument) IN (SELECT (voter, instrument) FROM panel))
  AND vote.pair_id IN (SELECT pair_id FROM scope($sources::VARCHAR[]))
ORDER BY vote_id;
