-- Responses of two builds in all (no domain) and by domain: what they share, and their questions.
WITH questions AS (
    SELECT
        question_id,
        any_value(domain) AS domain,
        bool_or(side = 'a') AS in_a,
        bool_or(side = 'b') AS in_b
    FROM _sides
    WHERE question_id IS NOT NULL
    GROUP BY question_id
),

every AS (
    SELECT
        response_id,
        any_value(domain) AS domain,
        bool_or(side = 'a') AS in_a,
        bool_or(side = 'b') AS in_b
    FROM _sides
    GROUP BY response_id
),

of_questions AS (
    SELECT
        grouping(domain) AS whole,
        coalesce(domain, 'other') AS domain,
        count(*) FILTER (WHERE in_a AND in_b) AS questions_both,
        count(*) FILTER (WHERE NOT in_b) AS questions_only_a,
        count(*) FILTER (WHERE NOT in_a) AS questions_only_b
    FROM questions
    GROUP BY GROUPING SETS ((), (domain))
),

of_responses AS (
    SELECT
        grouping(domain) AS whole,
        coalesce(domain, 'other') AS domain,
        count(*) FILTER (WHERE in_a) AS a,
        count(*) FILTER (WHERE in_b) AS b,
        count(*) FILTER (WHERE in_a AND in_b) AS "both",
        count(*) FILTER (WHERE NOT in_b) AS only_a,
        count(*) FILTER (WHERE NOT in_a) AS only_b
    FROM every
    GROUP BY GROUPING SETS ((), (domain))
)

SELECT
    CASE WHEN r.whole = 0 THEN r.domain END AS domain,
    r.* EXCLUDE (whole, domain),
    round(r."both" / nullif(r.a + r.b - r."both", 0), 4) AS jaccard,
    q.questions_both,
    q.questions_only_a,
    q.questions_only_b
FROM of_responses AS r
LEFT JOIN of_questions AS q ON r.whole = q.whole AND r.domain = q.domain
ORDER BY r.whole DESC, r.domain
