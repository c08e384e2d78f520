-- one row per result of the voters of `asked` (voter, instrument), every examination of theirs
SELECT exam.voter, exam.instrument, exam.exam::VARCHAR AS exam, exam.domain, exam.metric, exam.value, exam.low,
       exam.high, exam.n, exam.n_groups, exam.flip_rate, exam.first_rate, exam.failure_rate, exam.threshold,
       exam.is_passed, exam.examined_at
FROM exams AS exam
WHERE (exam.voter, exam.instrument) IN (SELECT (voter, instrument) FROM asked)
ORDER BY exam.examined_at, exam.exam, exam.voter, exam.instrument, exam.domain;
