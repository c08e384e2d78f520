-- one row per pair that a person voted on: its group
SELECT pair.pair_id::VARCHAR AS pair_id, component.group_id
FROM pairs AS pair JOIN components() AS component USING (prompt_id)
WHERE pair.pair_id IN (
    SELECT vote.pair_id FROM votes AS vote JOIN voters AS voter USING (voter) WHERE voter.kind = 'human')
ORDER BY pair_id;
