-- one row per policy that wrote responses of kept pairs of version $n, most first, 30 at most: model, revision, licence
WITH used AS (
    SELECT DISTINCT unnest([pair.response_a, pair.response_b]) AS response_id
    FROM version_state($dataset, $n) AS state JOIN pairs AS pair USING (pair_seq) WHERE state.action <> 'drop'
)
SELECT coalesce(response.policy, 'unknown') AS policy, count(*) AS responses, any_value(policy.model) AS model,
       any_value(policy.revision) AS revision, any_value(policy.licence) AS licence,
       any_value(policy.may_redistribute) AS may_redistribute
FROM used JOIN responses AS response USING (response_id) LEFT JOIN policies AS policy ON policy.policy = response.policy
GROUP BY ALL ORDER BY responses DESC, coalesce(response.policy, 'unknown') LIMIT 30;
