-- one row per group, as groups are now, with a pair that a version kept: a model trained on it has no opinion of these
SELECT DISTINCT component.group_id
FROM version_state($dataset, $n) AS state JOIN pairs AS pair USING (pair_seq) JOIN components() AS component USING (prompt_id)
WHERE state.action <> 'drop'
ORDER BY group_id;
