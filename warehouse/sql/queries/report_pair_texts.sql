-- one row per pair of a list: last message of its prompt and both texts, cut after $cut characters, with their lengths
WITH whole AS (
    SELECT pair.pair_id, pair.source, pair.author_a, pair.author_b, json_array_length(pair.prompt)::BIGINT AS n_messages,
           coalesce(json_extract_string(pair.prompt, '$[#-1].content'), pair.prompt) AS question,
           pair.system, pair.text_a, pair.text_b
    FROM pairs_with_texts() AS pair WHERE pair.pair_id IN (SELECT unnest($pairs::UUID[]))
)
SELECT pair_id::VARCHAR AS pair_id, source, author_a, author_b, n_messages, left(question, $cut) AS question,
       length(question) AS n_question, left(system, $cut) AS system, left(text_a, $cut) AS text_a,
       length(text_a) AS n_a, left(text_b, $cut) AS text_b, length(text_b) AS n_b
FROM whole ORDER BY pair_id;
