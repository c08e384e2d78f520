-- one row per pair of a version that can teach an order, with conversation and label; none of a group that holds gate gold
SELECT pair.pair_id::VARCHAR AS pair_id, pair.group_id, pair.prompt, pair.system, pair.text_a, pair.text_b,
       state.p_a, state.p_tie, state.strength, state.weight
FROM version_state($dataset, $n) AS state JOIN pairs_with_texts() AS pair USING (pair_seq)
WHERE state.action <> 'drop' AND state.weight > 0 AND pair.text_a <> pair.text_b
  AND pair.group_id NOT IN (SELECT group_id FROM gate_groups())
ORDER BY pair_id;
