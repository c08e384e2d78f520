-- one row per pair of a version and origin of what it says: a source that holds it, its prompt's source, its policies
WITH member AS (
    SELECT pair.pair_id, prompt.source AS prompt_source, a.policy AS policy_a, b.policy AS policy_b
    FROM version_state($dataset, $n) AS state
    JOIN pairs AS pair USING (pair_seq)
    JOIN prompts AS prompt USING (prompt_id)
    JOIN responses AS a ON a.response_id = pair.response_a
    JOIN responses AS b ON b.response_id = pair.response_b
),
origin AS (
    SELECT member.pair_id, 'source' AS what, held.source AS name
    FROM member JOIN pair_sources AS held USING (pair_id)
    UNION ALL
    SELECT pair_id, 'prompts of', prompt_source FROM member
    UNION ALL
    SELECT DISTINCT pair_id, 'policy', name
    FROM (SELECT pair_id, unnest([policy_a, policy_b]) AS name FROM member)
    WHERE name IN (SELECT policy FROM policies)
)
SELECT origin.pair_id::VARCHAR AS pair_id, origin.what, origin.name,
       CASE WHEN origin.what = 'policy' THEN policy.licence ELSE source.licence END AS licence,
       CASE WHEN origin.what = 'policy' THEN policy.may_redistribute ELSE source.may_redistribute END AS may_redistribute,
       CASE WHEN origin.what <> 'policy' THEN source.terms END AS terms
FROM origin
LEFT JOIN sources AS source ON origin.what <> 'policy' AND source.source = origin.name
LEFT JOIN policies AS policy ON origin.what = 'policy' AND policy.policy = origin.name
ORDER BY pair_id, what, name;
