-- one row per submission whose states are not numbered densely from 0, or one of which says what the one before said
SELECT submission, count(*) AS n
FROM (SELECT submission, n, revision, lag(revision) OVER (PARTITION BY submission ORDER BY n) AS before FROM submissions)
GROUP BY submission
HAVING min(n) <> 0 OR max(n) <> count(*) - 1 OR count(DISTINCT n) <> count(*) OR bool_or(revision = before);
