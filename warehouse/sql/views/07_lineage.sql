-- one row per response: its prompt, who wrote it and how, from what, under which licences
SELECT response.response_id, response.prompt_id, prompt.source AS prompt_source, prompt.category,
       prompt_text.text AS prompt, said.text AS response, response.author, response.policy, policy.model,
       policy.revision, policy.system, response.sampling, response.logprob_sum, response.n_tokens, response.parent_id,
       parent.author AS parent_author, response.call_key, call.template AS instrument,
       policy.licence, policy.may_redistribute, source.licence AS prompt_licence,
       source.may_redistribute AS prompt_may_redistribute
FROM responses AS response
JOIN prompts AS prompt USING (prompt_id)
JOIN texts AS prompt_text ON prompt_text.text_id = prompt.text_id
JOIN texts AS said ON said.text_id = response.text_id
LEFT JOIN policies AS policy ON policy.policy = response.policy
LEFT JOIN responses AS parent ON parent.response_id = response.parent_id
LEFT JOIN calls AS call ON call.call_key = response.call_key
LEFT JOIN sources AS source ON source.source = prompt.source;
