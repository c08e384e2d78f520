-- one row per pair of `wanted`: the prompt's messages as JSON, both texts, and the guideline written for it if there is one
SELECT pair.pair_id::VARCHAR AS pair_id, pair.prompt, pair.system, pair.text_a, pair.text_b,
       (SELECT min(tag.value) FROM pair_tags AS tag
        WHERE tag.pair_id = pair.pair_id AND tag.key = 'annotation_guideline') AS guideline
FROM pairs_with_texts() AS pair
WHERE pair.pair_id IN (SELECT pair_id::UUID FROM wanted)
ORDER BY pair_id;
