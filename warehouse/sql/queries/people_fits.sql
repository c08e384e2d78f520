-- one row per person: skill in the newest settling that has it
SELECT fit.voter, arg_max(fit.skill, settled.settled_at) AS skill,
       arg_max(fit, settled.settled_at).skill_low AS skill_low,
       arg_max(fit, settled.settled_at).skill_high AS skill_high
FROM voter_fits AS fit JOIN label_sets AS settled USING (label_set) JOIN voters AS voter USING (voter)
WHERE voter.kind = 'human'
GROUP BY fit.voter
ORDER BY fit.voter;
