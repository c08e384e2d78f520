-- one row per pair in scope and member of `panel` (voter, instrument) that has not voted on it, with its responses; equal
-- texts are never voted on
SELECT pair.pair_id::VARCHAR AS pair_id, asked.voter, asked.instrument, pair.prompt_id::VARCHAR AS prompt_id,
       pair.response_a::VARCHAR AS response_a, pair.response_b::VARCHAR AS response_b
FROM scope($sources::VARCHAR[]) AS pair
CROSS JOIN panel AS asked
WHERE pair.text_id_a <> pair.text_id_b
  AND NOT starts_with(pair.origin, 'augmented:')  -- their labels follow from others
  AND NOT EXISTS (
      SELECT 1 FROM votes AS vote
      WHERE vote.pair_id = pair.pair_id AND vote.voter = asked.voter AND vote.criterion = $criterion
        AND vote.instrument = asked.instrument
  )
ORDER BY pair_id, asked.voter, asked.instrument;
