-- one row per route with more than one task: a vote was asked for once and would be given twice
SELECT route.route_id::VARCHAR AS route_id, count(*) AS n
FROM routes AS route JOIN tasks AS task ON task.route_id = route.route_id
GROUP BY route.route_id
HAVING count(*) > 1;
