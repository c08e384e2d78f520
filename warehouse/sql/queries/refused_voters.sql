-- one row per voter and question whose newest examination was not passed
SELECT DISTINCT voter, instrument
FROM exams AS exam
WHERE domain = 'all' OR metric = 'fooled'  -- accuracy in one category is shown, and decides nothing
QUALIFY rank() OVER (PARTITION BY voter, instrument ORDER BY examined_at DESC, exam) = 1
        AND NOT bool_and(is_passed) OVER (PARTITION BY voter, instrument, exam)
ORDER BY voter, instrument;
