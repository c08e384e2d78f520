-- one row per stored prompt of any source, the gate's too: what is asked, as JSON of its messages
SELECT prompt.prompt_id::VARCHAR AS prompt_id, prompt.near_id::VARCHAR AS near_id, said.text AS asked
FROM prompts AS prompt JOIN texts AS said USING (text_id)
ORDER BY prompt_id;
