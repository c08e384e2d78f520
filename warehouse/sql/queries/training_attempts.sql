-- one row per model that was begun to be trained: attempts that did not end well, and what the last of them said
WITH attempts AS (
    SELECT run_id, min("at") AS began_at,
           any_value(json_extract_string(detail, '$.model')) FILTER (WHERE event = 'started') AS model,
           any_value(json_extract_string(detail, '$.reason')) FILTER (WHERE event = 'failed') AS reason,
           bool_or(event = 'finished') AS is_finished
    FROM runs WHERE flow = 'train' GROUP BY run_id
)
SELECT model, count(*) FILTER (WHERE NOT is_finished) AS n_failures,
       arg_max(coalesce(reason, 'it was killed'), began_at) FILTER (WHERE NOT is_finished) AS reason
FROM attempts GROUP BY model ORDER BY model;
