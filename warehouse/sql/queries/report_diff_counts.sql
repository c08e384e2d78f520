-- one row per change and actions from version $n_a to $n_b of a dataset
SELECT change, CASE WHEN action_before IS NULL THEN 'not there'
                    ELSE action_before || CASE WHEN reason_before = '' THEN '' ELSE ': ' || reason_before END END AS before,
       CASE WHEN action_after IS NULL THEN 'not there'
            ELSE action_after || CASE WHEN reason_after = '' THEN '' ELSE ': ' || reason_after END END AS after,
       count(*) AS pairs
FROM version_transitions($dataset, $n_a, $n_b)
GROUP BY ALL ORDER BY change, pairs DESC, before, after;
