-- one row per version that holds a pair with text $text_id, dropped ones included
WITH touched AS (
    SELECT pair.pair_seq
    FROM pairs AS pair
    JOIN prompts AS prompt USING (prompt_id)
    JOIN responses AS a ON a.response_id = pair.response_a
    JOIN responses AS b ON b.response_id = pair.response_b
    WHERE $text_id::UUID IN (prompt.text_id, a.text_id, b.text_id)
),
said AS (
    SELECT version.dataset, version.n, label.pair_seq, label.reason
    FROM labels AS label JOIN versions AS version USING (label_set)
    WHERE label.pair_seq IN (SELECT pair_seq FROM touched)
),
standing AS (
    SELECT version.dataset, version.n, arg_max(said.reason, said.n) AS reason
    FROM versions AS version JOIN said ON said.dataset = version.dataset AND said.n <= version.n
    GROUP BY version.dataset, version.n, said.pair_seq
)
SELECT dataset || '@' || n AS version
FROM standing
WHERE reason <> 'withdrawn'
GROUP BY dataset, n
ORDER BY dataset, n;
