-- one row per stage that left something out in rounds of a dataset, or file whose rows were refused, with the reason
SELECT discarded.stage, discarded.what, discarded.reason, count(*) AS n
FROM discards AS discarded JOIN rounds AS round ON round.round_id = discarded.round_id
WHERE round.dataset = $dataset GROUP BY ALL
UNION ALL
SELECT 'ingest', 'row', 'of ' || source || ': ' || "column" || ', expected ' || expected, count(*)
FROM rejects WHERE len($sources::VARCHAR[]) = 0 OR list_contains($sources::VARCHAR[], source) GROUP BY ALL
ORDER BY n DESC, stage, what, reason LIMIT 20;
