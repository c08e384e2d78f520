-- one row per prompt that policies may be asked: held by the dataset's sources (by any when none is named), outside the gate's groups
WITH held AS (
    SELECT prompt_id, source FROM prompts
    UNION
    SELECT pair.prompt_id, holder.source FROM pair_sources AS holder JOIN pairs AS pair USING (pair_id)
    WHERE NOT ends_with(holder.source, '+rrm')
),
named AS (
    SELECT prompt_id, min(source) AS source FROM held
    WHERE len($sources::VARCHAR[]) = 0 OR list_contains($sources::VARCHAR[], source)
    GROUP BY prompt_id
)
SELECT prompt.prompt_id::VARCHAR AS prompt_id, prompt.text_id::VARCHAR AS prompt_text_id, named.source, prompt.system,
       prompt.category, component.group_id, said.text AS asked,
       coalesce(json_extract_string(said.text, '$[#-1].content'), said.text) AS question
FROM named
JOIN prompts AS prompt USING (prompt_id)
JOIN components() AS component USING (prompt_id)
JOIN texts AS said ON said.text_id = prompt.text_id
WHERE component.group_id NOT IN (SELECT group_id FROM gate_groups())
ORDER BY prompt_id;
