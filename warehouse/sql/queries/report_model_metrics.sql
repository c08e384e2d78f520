-- one row per model and revision of a set that a model of the dataset was measured on, newest revision first, best first
WITH own AS (
    SELECT measured.set, measured.set_revision, max(model.trained_at) AS last_used
    FROM evaluations AS measured JOIN models AS model USING (model)
    WHERE model.dataset = $dataset GROUP BY ALL
)
SELECT measured.set, measured.set_revision, dense_rank() OVER (ORDER BY max(own.last_used) DESC, measured.set_revision) AS rank,
       measured.model, model.kind, model.base, model.trained_on, model.n_pairs AS n_trained,
       any_value(measured.value) FILTER (WHERE metric = 'accuracy') AS accuracy,
       any_value(measured.low) FILTER (WHERE metric = 'accuracy') AS low,
       any_value(measured.high) FILTER (WHERE metric = 'accuracy') AS high,
       any_value(measured.n) FILTER (WHERE metric = 'accuracy') AS pairs,
       any_value(measured.n_groups) FILTER (WHERE metric = 'accuracy') AS groups,
       any_value(measured.value) FILTER (WHERE metric = 'log_loss') AS log_loss,
       any_value(measured.value) FILTER (WHERE metric = 'calibration_error') AS calibration_error
FROM evaluations AS measured JOIN own USING (set, set_revision) LEFT JOIN models AS model USING (model)
WHERE model.dataset = $dataset OR measured.model IN ('longer-wins', 'random')
GROUP BY measured.set, measured.set_revision, measured.model, model.kind, model.base, model.trained_on, model.n_pairs
HAVING accuracy IS NOT NULL
ORDER BY rank, accuracy DESC, measured.model;
