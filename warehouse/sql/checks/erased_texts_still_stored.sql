-- one row per text that was erased and is in a shard
SELECT gone.row_id AS text_id
FROM tombstones AS gone JOIN texts AS held ON held.text_id = try_cast(gone.row_id AS UUID)
WHERE gone.what = 'text';
