-- one row per sending of a dataset's tasks that began and did not end
SELECT began.run_id::VARCHAR AS run_id
FROM runs AS began
WHERE began.flow = 'send' AND began.event = 'started' AND began.detail = $dataset
  AND NOT EXISTS (SELECT 1 FROM runs AS ended WHERE ended.run_id = began.run_id AND ended.event <> 'started')
ORDER BY run_id;
