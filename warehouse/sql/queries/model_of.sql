-- one row: a reward model by id
SELECT model, kind, family, base, dataset, trained_on, uri, sha256, config FROM models WHERE model = $model;
