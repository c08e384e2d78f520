-- one row per response of `wanted` that a model gave a reward under a template
SELECT score.response_id::VARCHAR AS response_id, score.score
FROM scores AS score
WHERE score.model = $model AND score.template = $template
  AND score.response_id IN (SELECT response_id::UUID FROM wanted)
ORDER BY response_id;
