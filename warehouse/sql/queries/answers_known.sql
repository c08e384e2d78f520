-- one row per call of `keys` whose answer became a response or was left out with a reason
SELECT call_key::VARCHAR AS call_key FROM responses WHERE call_key IN (SELECT call_key::UUID FROM keys)
UNION
SELECT row_id AS call_key FROM discards
WHERE what = 'response' AND stage = 'synthesize' AND row_id IN (SELECT call_key FROM keys)
ORDER BY call_key;
