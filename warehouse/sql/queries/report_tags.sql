-- one row per tag of a dataset: the version it points at
SELECT tag, arg_max(n, moved_at) AS n FROM version_tags WHERE dataset = $dataset GROUP BY tag ORDER BY tag;
