-- one row: votes of voter $voter that said more than a number, which they no longer do
UPDATE votes SET rationale = NULL, evidence = NULL, external_ref = NULL
WHERE voter = $voter AND (rationale IS NOT NULL OR evidence IS NOT NULL OR external_ref IS NOT NULL);
