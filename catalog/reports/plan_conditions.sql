-- Of the rows that would go: the first condition of the selection that does not hold any more.
CREATE TEMP TABLE _unmet AS
SELECT
    response_id,
    conditions[reached + 1] AS condition
FROM conditions
WHERE response_id IN (SELECT response_id FROM _changes WHERE change = 'out')
