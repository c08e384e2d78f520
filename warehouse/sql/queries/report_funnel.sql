-- one row per action and reason in version $n of a dataset
SELECT action, CASE WHEN reason = '' THEN '-' ELSE reason END AS reason, count(*) AS pairs
FROM version_state($dataset, $n)
GROUP BY ALL ORDER BY action, pairs DESC, reason;
