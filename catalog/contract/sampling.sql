/* description = "rows of another temperature or model than was asked for" */
SELECT
    response_id,
    temperature,
    model
FROM chosen
WHERE
    (getvariable('temperature') IS NOT NULL AND temperature IS DISTINCT FROM getvariable('temperature'))
    OR (getvariable('model') IS NOT NULL AND model IS DISTINCT FROM getvariable('model'))
