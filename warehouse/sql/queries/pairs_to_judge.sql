-- one row per pair in scope and member of `panel` (voter, instrument) whose ballot on it is not whole, with the texts;
-- equal texts are never judged
SELECT pair.pair_id::VARCHAR AS pair_id, asked.voter AS judge, pair.prompt_id::VARCHAR AS prompt_id,
       pair.group_id::VARCHAR AS group_id,
       pair.prompt_text_id::VARCHAR AS prompt_text_id, pair.text_id_a::VARCHAR AS text_id_a,
       pair.text_id_b::VARCHAR AS text_id_b,
       told.system, prompt.text AS prompt, text_a.text AS text_a, text_b.text AS text_b
FROM scope($sources::VARCHAR[]) AS pair
CROSS JOIN panel AS asked
JOIN prompts AS told ON told.prompt_id = pair.prompt_id
JOIN texts AS prompt ON prompt.text_id = pair.prompt_text_id
JOIN texts AS text_a ON text_a.text_id = pair.text_id_a
JOIN texts AS text_b ON text_b.text_id = pair.text_id_b
WHERE pair.text_id_a <> pair.text_id_b
  AND NOT starts_with(pair.origin, 'augmented:')  -- their labels follow from others
  AND NOT EXISTS (
      SELECT 1 FROM votes AS vote
      WHERE vote.pair_id = pair.pair_id AND vote.voter = asked.voter AND vote.criterion = $criterion
        AND vote.instrument = asked.instrument
      GROUP BY vote.ballot_id HAVING count(*) >= 2
  )
ORDER BY pair_id, judge;
