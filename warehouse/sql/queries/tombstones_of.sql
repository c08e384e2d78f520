-- one row per erased text or voter that version $version held (of any version when it is null), oldest first
SELECT what, row_id, salt, reason, n_rows, versions, erased_at
FROM tombstones
WHERE $version IS NULL OR list_contains(from_json(versions, '["VARCHAR"]'), $version)
ORDER BY erased_at, what, row_id;
