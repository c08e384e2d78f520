-- one row per voter of a kind: its votes, how often order turned its verdict, its skill in the newest settling, its
-- newest examination and what it was refused for; a voter with neither vote nor examination has no card
WITH newest AS (
    SELECT fit.voter, arg_max(fit, settled.settled_at) AS fit
    FROM voter_fits AS fit JOIN label_sets AS settled USING (label_set)
    GROUP BY fit.voter
),
ballots AS (
    SELECT voter,
           count(DISTINCT CASE WHEN p_a > greatest(p_tie, 1 - p_a - p_tie) THEN 'a'
                               WHEN 1 - p_a - p_tie > greatest(p_a, p_tie) THEN 'b'
                               ELSE 'tie' END) > 1 AS is_flipped
    FROM votes
    WHERE status = 'cast' AND NOT is_abstention AND shown_first IS NOT NULL
    GROUP BY voter, ballot_id
    HAVING count(DISTINCT shown_first) = 2
),
flips AS (SELECT voter, avg(is_flipped::INTEGER) AS flip_rate FROM ballots GROUP BY voter),
examined AS (
    SELECT voter, arg_max((instrument, exam), (examined_at, exam, instrument)) AS newest FROM exams GROUP BY voter
),
results AS (
    SELECT result.* FROM exams AS result JOIN examined USING (voter)
    WHERE (result.instrument, result.exam) = examined.newest
),
exam_cards AS (
    SELECT voter, max(examined_at) AS examined_at,
           any_value(value) FILTER (WHERE domain = 'all') AS accuracy,
           any_value(low) FILTER (WHERE domain = 'all') AS accuracy_low,
           any_value(high) FILTER (WHERE domain = 'all') AS accuracy_high,
           arg_max(domain, (value, domain)) FILTER (WHERE metric = 'fooled') AS worst_probe,
           max(value) FILTER (WHERE metric = 'fooled') AS worst_probe_fooled,
           coalesce(bool_and(is_passed) FILTER (WHERE domain = 'all' OR metric = 'fooled'), false)
               AND count(*) FILTER (WHERE domain = 'all') > 0 AS is_passed,
           string_agg(
               CASE WHEN domain = 'all'
                    THEN format('right on {:.1f} % of {} (at least {:.1f}, asked {:.1f}), flipped {:.1f} %, '
                                || 'failed {:.1f} %', 100 * value, n, 100 * low, 100 * threshold,
                                100 * coalesce(flip_rate, 0), 100 * failure_rate)
                    ELSE format('{}: fooled by {:.1f} % of {}', domain, 100 * value, n) END,
               '; ' ORDER BY domain
           ) FILTER (WHERE NOT is_passed AND (domain = 'all' OR metric = 'fooled')) AS refused_for
    FROM results GROUP BY voter
)
SELECT voter.voter, voter.family, coalesce(summary.n_votes, 0) AS n_votes,
       coalesce(summary.n_abstentions, 0) AS n_abstentions, coalesce(summary.n_ties, 0) AS n_ties, flips.flip_rate,
       summary.first_slot_rate, fit.skill, fit.skill_low, fit.skill_high, coalesce(summary.cost_usd, 0) AS cost_usd,
       fit.calibration AS calibration_temperature, exam.accuracy, exam.accuracy_low, exam.accuracy_high,
       exam.worst_probe, exam.worst_probe_fooled, exam.is_passed, exam.refused_for, exam.examined_at
FROM voters AS voter
LEFT JOIN voter_summary AS summary USING (voter)
LEFT JOIN newest USING (voter)
LEFT JOIN flips USING (voter)
LEFT JOIN exam_cards AS exam USING (voter)
WHERE voter.kind = $kind AND (summary.voter IS NOT NULL OR exam.voter IS NOT NULL)
ORDER BY voter.voter;
