-- one row per pair labelled in version `n_a` or `n_b` of a dataset: what became of it, and its label in both
CREATE OR REPLACE TEMP MACRO version_transitions(of_dataset, n_a, n_b) AS TABLE
WITH joined AS (
    SELECT pair_seq, before.action AS action_before, after.action AS action_after,
           before.reason AS reason_before, after.reason AS reason_after,
           before.p_a AS p_a_before, after.p_a AS p_a_after, before.p_tie AS p_tie_before, after.p_tie AS p_tie_after,
           before.strength AS strength_before, after.strength AS strength_after,
           before.n_votes AS n_votes_before, after.n_votes AS n_votes_after,
           before.weight AS weight_before, after.weight AS weight_after,
           coalesce(before.action <> 'drop', false) AS is_in_before,
           coalesce(after.action <> 'drop', false) AS is_in_after
    FROM version_state(of_dataset, n_a) AS before FULL JOIN version_state(of_dataset, n_b) AS after USING (pair_seq)
)
SELECT CASE WHEN NOT is_in_before AND NOT is_in_after THEN 'in_neither'
            WHEN NOT is_in_before THEN 'added'
            WHEN NOT is_in_after THEN 'removed'
            WHEN (p_a_before + p_tie_before / 2 - 0.5) * (p_a_after + p_tie_after / 2 - 0.5) < 0 THEN 'flipped'
            WHEN strength_before IS DISTINCT FROM strength_after THEN 'strength_changed'
            WHEN (p_a_before, p_tie_before, weight_before, action_before)
                 IS DISTINCT FROM (p_a_after, p_tie_after, weight_after, action_after) THEN 'label_changed'
            ELSE 'unchanged' END AS change, *
FROM joined;
