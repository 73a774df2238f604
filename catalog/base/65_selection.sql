/*
description = "the candidates that a split keeps, under the variables below"

[parameters]
budget = { type = "budget", help = "rows per domain; `other` is for questions without a domain; empty: no limit" }
*/
SELECT * EXCLUDE (random_order, kept, place, scored, eligible)
FROM ranked
WHERE
    kept
    AND eligible
    AND (
        getvariable('budget') IS NULL
        OR place <= coalesce(getvariable('budget')[coalesce(domain, 'other')], 0)
    )
