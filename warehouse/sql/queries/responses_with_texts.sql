-- one row per response of `wanted`: its text, its prompt's messages as JSON, its system prompt
SELECT response.response_id::VARCHAR AS response_id, response.prompt_id::VARCHAR AS prompt_id, prompt_text.text AS prompt,
       prompt.system, said.text AS response
FROM responses AS response
JOIN prompts AS prompt USING (prompt_id)
JOIN texts AS prompt_text ON prompt_text.text_id = prompt.text_id
JOIN texts AS said ON said.text_id = response.text_id
WHERE response.response_id IN (SELECT response_id::UUID FROM wanted)
ORDER BY response_id;
