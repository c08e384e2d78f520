-- one row per vote that still counts though its submission was deleted, skipped or edited since
SELECT vote.vote_id::VARCHAR AS vote_id, said.submission
FROM submissions AS said
JOIN current_votes((SELECT coalesce(max(seq), 0) FROM votes)) AS vote ON vote.vote_id = said.vote_id
JOIN (SELECT submission, arg_max(vote_id, n) AS vote_id, arg_max(outcome, n) AS outcome
      FROM submissions GROUP BY submission) AS newest ON newest.submission = said.submission
WHERE newest.outcome <> 'voted' AND newest.outcome <> 'cannot_judge' OR newest.vote_id IS DISTINCT FROM said.vote_id;
