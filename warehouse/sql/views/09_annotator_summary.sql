-- one row per annotator: votes, skips, gold, how often the first slot won, what was taken over, time, money
WITH said AS (
    SELECT vote.* FROM votes AS vote JOIN voters AS voter USING (voter)
    WHERE vote.status = 'cast' AND voter.kind = 'human'
      AND NOT EXISTS (SELECT 1 FROM votes AS later WHERE later.supersedes = vote.vote_id)
),
standing AS (
    SELECT * FROM submissions WHERE voter IS NOT NULL AND pair_id IS NOT NULL
    QUALIFY row_number() OVER (PARTITION BY submission ORDER BY n DESC) = 1
),
marked AS (
    SELECT said.voter, said.pair_id, said.cost_usd, said.is_abstention, said.shown_first,
           CASE WHEN said.p_a > greatest(said.p_tie, 1 - said.p_a - said.p_tie) THEN 'a'
                WHEN 1 - said.p_a - said.p_tie > greatest(said.p_a, said.p_tie) THEN 'b'
                WHEN NOT said.is_abstention THEN 'tie' END AS outcome,
           CASE WHEN gold.p_a > greatest(gold.p_tie, 1 - gold.p_a - gold.p_tie) THEN 'a'
                WHEN 1 - gold.p_a - gold.p_tie > greatest(gold.p_a, gold.p_tie) THEN 'b'
                WHEN gold.p_a IS NOT NULL THEN 'tie' END AS truth,
           CASE WHEN standing.submission IS NULL THEN said.seconds END AS seconds
    FROM said
    LEFT JOIN gold ON gold.pair_id = said.pair_id AND gold.criterion = said.criterion AND gold.use = 'attention'
                  AND gold.retired_at IS NULL
    LEFT JOIN standing ON standing.vote_id = said.vote_id
),
of_votes AS (
    SELECT voter, count(*) AS n_votes, count(*) FILTER (WHERE is_abstention) AS n_abstentions,
           count(*) FILTER (WHERE outcome = 'tie') AS n_ties,
           count(*) FILTER (WHERE outcome IS NOT NULL AND truth IS NOT NULL) AS n_gold,
           count(*) FILTER (WHERE outcome = truth) AS n_gold_right,
           avg((outcome = shown_first)::INTEGER) FILTER (WHERE outcome IN ('a', 'b')) AS first_share,
           sum(cost_usd) AS cost_usd, coalesce(sum(CASE WHEN seconds > 1800 THEN 1800 ELSE seconds END), 0) AS seconds
    FROM marked GROUP BY voter
),
of_work AS (
    SELECT voter, count(*) FILTER (WHERE outcome = 'skipped') AS n_skipped,
           count(*) FILTER (WHERE outcome = 'deleted') AS n_deleted, count(*) FILTER (WHERE is_prefilled) AS n_prefilled,
           avg(is_taken_over::INTEGER) FILTER (WHERE is_prefilled AND outcome = 'voted') AS taken_over_share,
           median(seconds) FILTER (WHERE outcome = 'voted') AS seconds_median,
           coalesce(sum(CASE WHEN seconds > 1800 THEN 1800 ELSE seconds END), 0) AS seconds
    FROM standing GROUP BY voter
)
SELECT voter, coalesce(of_votes.n_votes, 0) AS n_votes, coalesce(of_votes.n_abstentions, 0) AS n_abstentions,
       coalesce(of_votes.n_ties, 0) AS n_ties, coalesce(of_work.n_skipped, 0) AS n_skipped,
       coalesce(of_work.n_deleted, 0) AS n_deleted, coalesce(of_votes.n_gold, 0) AS n_gold,
       of_votes.n_gold_right / nullif(of_votes.n_gold, 0) AS gold_accuracy, of_votes.first_share,
       coalesce(of_work.n_prefilled, 0) AS n_prefilled, of_work.taken_over_share, of_work.seconds_median,
       (coalesce(of_votes.seconds, 0) + coalesce(of_work.seconds, 0)) / 3600 AS hours,
       coalesce(of_votes.cost_usd, 0) AS cost_usd
FROM of_votes FULL JOIN of_work USING (voter)
ORDER BY voter;
