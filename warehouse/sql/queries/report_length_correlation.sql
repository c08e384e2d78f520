-- one row per what has an opinion on kept pairs of version $n (the labels' strength, margins of the 3 newest models with
-- scores on them): rank correlation with the length difference, each pair in both orders, as curate.auditing.length has it
WITH lengths AS (
    SELECT pair.pair_id, pair.response_a, pair.response_b, state.strength,
           length(text_a.text) - length(text_b.text) AS difference
    FROM version_state($dataset, $n) AS state JOIN pairs AS pair USING (pair_seq)
    JOIN responses AS a ON a.response_id = pair.response_a JOIN responses AS b ON b.response_id = pair.response_b
    JOIN texts AS text_a ON text_a.text_id = a.text_id JOIN texts AS text_b ON text_b.text_id = b.text_id
    WHERE state.action <> 'drop'
),
newest AS (
    SELECT model.model FROM models AS model
    WHERE model.dataset = $dataset AND model.model IN (SELECT model FROM scores)
    ORDER BY model.trained_at DESC, model.model LIMIT 3
),
margins AS (
    SELECT 'labels' AS what, strength AS margin, difference FROM lengths WHERE strength IS NOT NULL
    UNION ALL
    SELECT newest.model, a.score - b.score, difference
    FROM lengths JOIN newest ON true
    JOIN scores AS a ON a.response_id = lengths.response_a AND a.model = newest.model
    JOIN scores AS b ON b.response_id = lengths.response_b AND b.model = newest.model AND b.template = a.template
),
both_orders AS (
    SELECT what, margin, difference FROM margins UNION ALL SELECT what, -margin, -difference FROM margins
),
ranked AS (
    SELECT what,
           rank() OVER (PARTITION BY what ORDER BY margin) + count(*) OVER (PARTITION BY what, margin) / 2 AS of_margin,
           rank() OVER (PARTITION BY what ORDER BY difference)
               + count(*) OVER (PARTITION BY what, difference) / 2 AS of_difference
    FROM both_orders
)
SELECT what, CASE WHEN isfinite(corr(of_margin, of_difference)) THEN corr(of_margin, of_difference) END AS value,
       count(*) // 2 AS n
FROM ranked GROUP BY what ORDER BY what <> 'labels', what;
