-- one row per submission of some projects (`system/project`), as it stood when it was last read
SELECT submission, n, revision::VARCHAR AS revision, task_key::VARCHAR AS task_key, pair_id::VARCHAR AS pair_id,
       external_id, voter, outcome, vote_id::VARCHAR AS vote_id, seconds, is_prefilled, is_taken_over, reason, said_at,
       pulled_at
FROM submissions
WHERE list_contains($places::VARCHAR[], regexp_replace(submission, '/[^/]*$', ''))
QUALIFY n = max(n) OVER (PARTITION BY submission)
ORDER BY submission;
