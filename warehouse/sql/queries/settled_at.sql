-- one row: when a label set was settled
SELECT settled_at FROM label_sets WHERE label_set = $label_set::UUID;
