-- one row per version whose recipe trains a language model and whose round has no gate decision, oldest first
SELECT version.dataset, version.n, version.round_id::VARCHAR AS round_id, round.n AS round_n,
       coalesce(version.parent_n, 0) AS parent_n, version.recipe, version.fingerprint, version.released_at,
       (SELECT max(later.n) FROM versions AS later WHERE later.dataset = version.dataset) AS newest_n,
       EXISTS (SELECT 1 FROM promotions AS decided JOIN rounds AS later USING (round_id)
               WHERE later.dataset = version.dataset AND later.n > round.n AND decided.candidate <> '') AS is_overtaken
FROM versions AS version JOIN rounds AS round USING (round_id)
WHERE json_extract_string(version.recipe, '$.training.engine') = 'trl'
  AND ($dataset IS NULL OR version.dataset = $dataset)
  AND NOT EXISTS (SELECT 1 FROM promotions AS decided WHERE decided.round_id = version.round_id)
ORDER BY version.dataset, version.n;
