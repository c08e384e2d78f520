-- one row per pair labelled in version $n_a or $n_b of a dataset: what became of it, and its expected win in both
SELECT pair.pair_id::VARCHAR AS pair_id, change,
       CASE WHEN is_in_before THEN p_a_before + p_tie_before / 2 END AS win_before,
       CASE WHEN is_in_after THEN p_a_after + p_tie_after / 2 END AS win_after
FROM version_transitions($dataset, $n_a, $n_b) JOIN pairs AS pair USING (pair_seq)
WHERE change <> 'in_neither'
ORDER BY change, pair_id;
