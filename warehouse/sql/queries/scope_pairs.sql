-- one row per pair in scope: group, whether the texts are equal, whether its label follows from other labels
SELECT pair.pair_id::VARCHAR AS pair_id, pair.group_id, pair.text_id_a = pair.text_id_b AS is_identical,
       starts_with(pair.origin, 'augmented:') AS is_derived
FROM scope($sources::VARCHAR[]) AS pair
ORDER BY pair_id;
