-- one row per source (null: all) and trait that just one response of a kept pair of version $n has: sums over groups of
-- the expected win of the side that has it, from which mean and interval follow
WITH kept AS (
    SELECT pair.source, pair.group_id, round(state.p_a + state.p_tie / 2, 9) AS win, pair.text_a, pair.text_b
    FROM version_state($dataset, $n) AS state JOIN pairs_with_texts() AS pair USING (pair_seq)
    WHERE state.action <> 'drop'
),
traits AS (
    SELECT source, group_id, win, 'prefer_longer' AS audit, length(text_a) - length(text_b) > $longer AS of_a,
           length(text_b) - length(text_a) > $longer AS of_b FROM kept
    UNION ALL
    SELECT source, group_id, win, 'prefer_list', len(regexp_extract_all(text_a, $list_item)) >= 2,
           len(regexp_extract_all(text_b, $list_item)) >= 2 FROM kept
    UNION ALL
    SELECT source, group_id, win, 'prefer_markdown', regexp_matches(text_a, $markdown),
           regexp_matches(text_b, $markdown) FROM kept
),
grouped AS (
    SELECT audit, source, group_id, sum(CASE WHEN of_a THEN win ELSE 1 - win END) AS total, count(*) AS n
    FROM traits WHERE of_a <> of_b GROUP BY ALL
),
together AS (SELECT audit, group_id, sum(total) AS total, sum(n) AS n FROM grouped GROUP BY ALL)
SELECT audit, NULL AS source, sum(n)::BIGINT AS n, count(*) AS n_groups, sum(total) AS total,
       sum(total * total) AS total_total, sum(total * n) AS total_n, sum(n * n)::DOUBLE AS n_n
FROM together GROUP BY audit
UNION ALL
SELECT audit, source, sum(n)::BIGINT, count(*), sum(total), sum(total * total), sum(total * n), sum(n * n)::DOUBLE
FROM grouped GROUP BY audit, source
QUALIFY row_number() OVER (PARTITION BY audit ORDER BY sum(n) DESC, source) <= 8
ORDER BY audit, source NULLS FIRST;
