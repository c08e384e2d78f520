-- one row per pair in scope whose texts differ: its two responses
SELECT pair.pair_id::VARCHAR AS pair_id, pair.response_a::VARCHAR AS response_a, pair.response_b::VARCHAR AS response_b
FROM scope($sources::VARCHAR[]) AS pair
WHERE pair.text_id_a <> pair.text_id_b
ORDER BY pair_id;
