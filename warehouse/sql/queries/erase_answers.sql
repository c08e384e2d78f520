-- one row: calls whose answer is the text $text_id, or spells it out in tokens or as a vector; read as a failed call since
UPDATE calls SET response = $mark, choice_logprobs = NULL, finish_reason = 'erased'
WHERE finish_reason <> 'erased'
  AND (response = $text
       OR call_key IN (SELECT call_key FROM responses WHERE text_id = $text_id::UUID AND call_key IS NOT NULL)
       OR call_key IN (SELECT call_key FROM rubrics WHERE text_id = $text_id::UUID AND call_key IS NOT NULL)
       OR kind IN ('embed', 'likelihood')
          AND (contains(subject, $text_id::VARCHAR)
               OR EXISTS (SELECT 1 FROM responses AS said
                          WHERE said.text_id = $text_id::UUID AND contains(calls.subject, said.response_id::VARCHAR))));
