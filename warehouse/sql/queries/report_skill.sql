-- one row per voter in the fit of version $n of a dataset, those with most votes first within a kind, 20 of each at most
SELECT voter.kind, fit.voter, voter.family, fit.criterion, fit.n_votes AS votes, fit.skill, fit.skill_low AS low,
       fit.skill_high AS high, fit.order_bias, count(*) OVER (PARTITION BY voter.kind) AS n_of_kind
FROM voter_fits AS fit JOIN voters AS voter USING (voter)
JOIN versions AS version ON version.label_set = fit.label_set
WHERE version.dataset = $dataset AND version.n = $n
QUALIFY row_number() OVER (PARTITION BY voter.kind ORDER BY fit.n_votes DESC, fit.voter, fit.criterion) <= 20
ORDER BY voter.kind, votes DESC, fit.voter, fit.criterion;
