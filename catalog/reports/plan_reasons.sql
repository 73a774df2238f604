-- Why rows come and go: of what comes, what it lacked then; of what goes, what it lacks now.
CREATE TEMP TABLE _reasons AS
WITH coming AS (SELECT * FROM _changes WHERE change = 'in'),

verdicts AS (
    SELECT f.response_id, list({'filter': f.filter, 'version': f.version}) AS passed
    FROM _before_flags AS f
    WHERE f.passed AND f.response_id IN (SELECT response_id FROM coming)
    GROUP BY f.response_id
),

scored AS (
    SELECT
        response_id,
        bool_or(scorer_id = getvariable('plan_teacher')) AS by_teacher,
        bool_or(scorer_id = getvariable('plan_student')) AS by_student
    FROM _before_sentence_scores
    WHERE response_id IN (SELECT response_id FROM coming)
    GROUP BY response_id
),

known AS (
    SELECT
        c.*,
        c.response_id IN (SELECT response_id FROM _before_responses) AS there,
        list_filter(
            getvariable('plan_filters'), lambda f: NOT coalesce(list_contains(v.passed, f), false)
        )[1].filter AS refused_by,
        (coalesce(s.by_teacher, false) OR getvariable('plan_teacher') IS NULL)
        AND (coalesce(s.by_student, false) OR getvariable('plan_student') IS NULL) AS compared
    FROM coming AS c
    LEFT JOIN verdicts AS v USING (response_id)
    LEFT JOIN scored AS s USING (response_id)
),

leaving AS (
    SELECT c.*, u.condition
    FROM _changes AS c
    LEFT JOIN _unmet AS u USING (response_id)
    WHERE c.change = 'out'
),

came AS (
    SELECT
        change,
        response_id,
        question_id,
        domain,
        CASE
            WHEN getvariable('plan_first') IS NOT NULL THEN 'first build'
            WHEN NOT there THEN 'new response'
            WHEN refused_by IS NOT NULL THEN concat('filter ', refused_by, ' passes it since')
            WHEN NOT compared AND getvariable('require_scores') THEN 'scored since'
            WHEN getvariable('plan_settings') IS NOT NULL
                THEN concat('changed: ', getvariable('plan_settings'))
            WHEN question_id IN (SELECT question_id FROM leaving)
                THEN 'in the place of another of its question'
            WHEN getvariable('budget') IS NOT NULL THEN 'within the budget of its domain now'
            ELSE 'chosen by the SELECT of the view now'
        END AS reason
    FROM known
),

best AS (
    SELECT question_id, min(reason) AS reason
    FROM came
    GROUP BY question_id
)

FROM came
UNION ALL
SELECT
    l.change,
    l.response_id,
    l.question_id,
    l.domain,
    CASE
        WHEN l.condition IS NULL AND getvariable('plan_settings') IS NOT NULL
            THEN concat('changed: ', getvariable('plan_settings'))
        WHEN l.condition IS NULL THEN 'left out by the SELECT of the view now'
        WHEN l.condition LIKE 'among the best %' AND b.reason IS NOT NULL
            THEN concat('outranked within its question: ', b.reason)
        ELSE concat('not ', l.condition)
    END AS reason
FROM leaving AS l
LEFT JOIN best AS b USING (question_id)
