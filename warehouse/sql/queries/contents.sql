-- one row: how much a warehouse holds
SELECT (SELECT count(*) FROM pairs) AS pairs, (SELECT count(*) FROM votes) AS votes,
       (SELECT count(*) FROM calls) AS calls, (SELECT count(*) FROM text_index) AS texts,
       (SELECT count(*) FROM versions) AS versions, (SELECT count(*) FROM models) AS models;
