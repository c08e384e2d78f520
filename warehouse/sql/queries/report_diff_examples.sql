-- one row per example of a change from version $n_a to $n_b: the pairs whose expected win moved most, flips before all
SELECT pair.pair_id::VARCHAR AS pair_id, moved.* EXCLUDE (pair_seq, is_in_before, is_in_after)
FROM version_transitions($dataset, $n_a, $n_b) AS moved JOIN pairs AS pair USING (pair_seq)
WHERE moved.change NOT IN ('unchanged', 'in_neither')
QUALIFY row_number() OVER (
    PARTITION BY moved.change
    ORDER BY abs(coalesce(p_a_after + p_tie_after / 2, 0.5) - coalesce(p_a_before + p_tie_before / 2, 0.5)) DESC,
             pair.pair_id
) <= CASE WHEN moved.change = 'flipped' THEN $n_flipped ELSE $n_others END
ORDER BY list_position(['flipped', 'removed', 'added', 'strength_changed', 'label_changed'], moved.change),
         abs(coalesce(p_a_after + p_tie_after / 2, 0.5) - coalesce(p_a_before + p_tie_before / 2, 0.5)) DESC,
         pair.pair_id;
