-- one row per version that was settled with votes of voter $voter
SELECT version.dataset || '@' || version.n AS version
FROM versions AS version
WHERE EXISTS (
    SELECT 1 FROM votes AS vote JOIN pairs AS pair USING (pair_id) JOIN labels AS label USING (pair_seq)
    JOIN versions AS labelled USING (label_set)
    WHERE vote.voter = $voter AND vote.status = 'cast' AND vote.seq <= version.as_of
      AND labelled.dataset = version.dataset AND labelled.n <= version.n
)
ORDER BY version.dataset, version.n;
