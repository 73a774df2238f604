-- What the check on contamination could not look at.
SELECT CASE
    WHEN getvariable('contamination') IS NULL THEN 'filter contamination has never run'
    WHEN count(*) FILTER (WHERE f.response_id IS NULL) > 0 THEN concat(
        count(*) FILTER (WHERE f.response_id IS NULL), ' rows have no verdict: run `dasd-data filter`'
    )
END AS note
FROM chosen AS c
LEFT JOIN flags AS f
    ON c.response_id = f.response_id
    AND f.filter = 'contamination'
    AND f.version = getvariable('contamination')
