-- one row: the text with id $text_id, none when it is not stored
SELECT text FROM texts WHERE text_id = $text_id::UUID;
