-- one row when this text or voter has none yet: that it was erased
INSERT INTO tombstones BY NAME
SELECT $what AS what, $row_id AS row_id, $salt AS salt, $reason AS reason, $n_rows AS n_rows, $versions AS versions,
       now() AS erased_at
WHERE NOT EXISTS (SELECT 1 FROM tombstones WHERE what = $what AND row_id = $row_id);
