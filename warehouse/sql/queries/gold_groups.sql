-- one row per group and use of its gold, of any criterion: a group serves one use
SELECT DISTINCT component.group_id, gold.use
FROM gold JOIN pairs AS pair USING (pair_id) JOIN components() AS component USING (prompt_id)
WHERE gold.retired_at IS NULL
ORDER BY group_id, use;
