-- one row per source of the pairs that version $n of a dataset keeps, most pairs first, 30 at most: licence and terms
SELECT pair.source, count(*) AS pairs, any_value(source.licence) AS licence,
       any_value(source.may_redistribute) AS may_redistribute, any_value(source.revision) AS revision,
       any_value(source.terms) AS terms
FROM version_state($dataset, $n) AS state JOIN pairs AS pair USING (pair_seq)
LEFT JOIN sources AS source ON source.source = pair.source
WHERE state.action <> 'drop'
GROUP BY pair.source ORDER BY pairs DESC, pair.source LIMIT 30;
