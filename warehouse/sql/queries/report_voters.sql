-- one row per kind and family of voters in the fit of version $n of a dataset, people together; null: the newest fit
WITH newest AS (
    SELECT settled.label_set FROM label_sets AS settled
    LEFT JOIN versions AS version ON version.label_set = settled.label_set
    WHERE settled.dataset = $dataset AND ($n IS NULL OR version.n = $n)
    ORDER BY settled.settled_at DESC LIMIT 1
)
SELECT voter.kind, CASE WHEN voter.kind = 'human' THEN 'all' ELSE voter.voter END AS voter,
       count(*) AS voters, sum(fit.n_votes)::BIGINT AS votes,
       sum(fit.skill * fit.n_votes) / sum(fit.n_votes) AS mean_skill, min(fit.skill) AS lowest_skill
FROM voter_fits AS fit JOIN newest USING (label_set) JOIN voters AS voter USING (voter)
GROUP BY ALL
ORDER BY voter.kind, votes DESC
LIMIT 40;
