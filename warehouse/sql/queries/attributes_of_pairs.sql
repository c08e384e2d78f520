-- one row per pair of `wanted` that a tagger tagged: its attributes as lines "key: value", by key
SELECT tag.pair_id::VARCHAR AS pair_id, string_agg(tag.key || ': ' || tag.value, chr(10) ORDER BY tag.key) AS attributes
FROM pair_tags AS tag
WHERE tag.tagger = $tagger AND tag.pair_id IN (SELECT pair_id::UUID FROM wanted)
GROUP BY tag.pair_id
ORDER BY tag.pair_id;
