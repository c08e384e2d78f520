-- one row per response of `wanted` that is stored, with the call it came from
SELECT response_id::VARCHAR AS response_id, call_key::VARCHAR AS call_key
FROM responses
WHERE response_id IN (SELECT response_id::UUID FROM wanted)
ORDER BY response_id;
