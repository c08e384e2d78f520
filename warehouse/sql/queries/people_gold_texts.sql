-- one row per pair of attention gold and criterion: prompt, both texts, why the truth is what it is
SELECT gold.pair_id::VARCHAR AS pair_id, gold.criterion, gold.why,
       coalesce(json_extract_string(pair.prompt, '$[#-1].content'), pair.prompt) AS prompt, pair.text_a, pair.text_b
FROM gold JOIN pairs_with_texts() AS pair USING (pair_id)
WHERE gold.use = 'attention' AND gold.retired_at IS NULL
ORDER BY gold.pair_id, gold.criterion;
