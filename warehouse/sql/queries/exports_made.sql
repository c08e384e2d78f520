-- one row per export that was noted, newest first: what, where, when
SELECT json_extract_string(detail, '$.version') AS version, json_extract_string(detail, '$.form') AS form,
       json_extract_string(detail, '$.folder') AS folder, "at" AS exported_at
FROM runs
WHERE flow = 'export' AND event = 'finished'
ORDER BY "at" DESC, run_id;
