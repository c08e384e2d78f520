-- one row per response of gate gold that a model gave a reward, with its conversation: what a server of it is held to
SELECT score.response_id::VARCHAR AS response_id, score.score, prompt_text.text AS prompt, prompt.system,
       said.text AS response
FROM scores AS score JOIN responses AS response USING (response_id)
JOIN prompts AS prompt USING (prompt_id)
JOIN texts AS prompt_text ON prompt_text.text_id = prompt.text_id
JOIN texts AS said ON said.text_id = response.text_id
WHERE score.model = $model AND score.template = $template
  AND score.response_id IN (
      SELECT unnest([pair.response_a, pair.response_b]) FROM gold JOIN pairs AS pair USING (pair_id) WHERE gold.use = 'gate'
  )
ORDER BY response_id
LIMIT $n;
