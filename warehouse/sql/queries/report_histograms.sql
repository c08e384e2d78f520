-- one row per measure, bin and fate of the pairs of version $n: certainty in steps of 0.05, absolute strength of 0.5;
-- a bin holds its lower edge, the last one both; p is stored in steps of 1/200, so certainty is counted in whole steps
WITH state AS (SELECT *, action <> 'drop' AS is_kept FROM version_state($dataset, $n)),
binned AS (
    SELECT 'certainty' AS measure, is_kept,
           least(round(200 * greatest(p_a, p_tie, 1 - p_a - p_tie))::INTEGER // 10, 19) * 0.05 AS low
    FROM state
    UNION ALL
    SELECT 'strength', is_kept, least(round(100 * abs(strength))::INTEGER // 50, 5) * 0.5
    FROM state WHERE strength IS NOT NULL
)
SELECT measure, low::DOUBLE AS low, CASE measure WHEN 'certainty' THEN low + 0.05 ELSE low + 0.5 END::DOUBLE AS high,
       is_kept, count(*) AS pairs
FROM binned
GROUP BY ALL ORDER BY measure, low, is_kept;
