-- one row per key of `keys` that no recorded call answers
SELECT wanted.call_key FROM keys AS wanted ANTI JOIN calls ON calls.call_key = wanted.call_key::UUID;
