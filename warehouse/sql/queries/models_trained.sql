-- one row per recorded model: where it lies and which version it learnt from
SELECT model, uri, dataset, trained_on, dataset || '@' || trained_on AS version FROM models ORDER BY model;
