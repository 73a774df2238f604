-- Verdicts of the required filters on one response at their current versions, missing ones too.
SELECT
    f.filter,
    f.version,
    v.passed,
    v.value,
    v.evidence
FROM (SELECT unnest(getvariable('filters'), recursive := true)) AS f
LEFT JOIN flags AS v
    ON f.filter = v.filter
    AND f.version = v.version
    AND v.response_id = getvariable('why_response')
ORDER BY f.filter
