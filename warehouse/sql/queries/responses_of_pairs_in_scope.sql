-- one row per pair in scope that can be voted on: its two responses; equal texts are never voted on
SELECT pair.pair_id::VARCHAR AS pair_id, pair.response_a::VARCHAR AS response_a, pair.response_b::VARCHAR AS response_b
FROM scope($sources::VARCHAR[]) AS pair
WHERE pair.text_id_a <> pair.text_id_b
  AND NOT starts_with(pair.origin, 'augmented:')  -- their labels follow from others
ORDER BY pair_id;
