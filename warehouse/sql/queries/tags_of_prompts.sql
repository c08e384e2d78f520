-- one row per tag of a prompt of `wanted`
SELECT tag.prompt_id::VARCHAR AS prompt_id, tag.key, tag.value
FROM prompt_tags AS tag
WHERE tag.prompt_id IN (SELECT prompt_id::UUID FROM wanted)
ORDER BY prompt_id, tag.key, tag.tagger;
