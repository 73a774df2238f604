/*
description = "one row per response: every condition of the selection in the order it is applied, whether it holds, and how many hold before the first that does not"

[columns]
conditions = "every condition of the selection in the order it is applied, and whether it holds; empty: it was not come to"
reached = "how many of them hold before the first that does not"
*/
WITH passed AS (
    SELECT response_id, list(filter) AS filters
    FROM flags
    WHERE passed AND list_contains(getvariable('filters'), {'filter': filter, 'version': version})
    GROUP BY response_id
),

scored AS (
    SELECT
        s.response_id,
        bool_or(s.scorer_id = getvariable('teacher')) AS by_teacher,
        bool_or(s.scorer_id = getvariable('student')) AS by_student,
        bool_or(s.scorer_id = getvariable('distilled')) AS by_distilled
    FROM sentence_scores AS s
    INNER JOIN sentences AS n USING (response_id, segmentation_id)
    WHERE n.segmenter = getvariable('segmenter')
    GROUP BY s.response_id
),

-- A condition that is not asked for is an empty list. `filter_after` moves the filters to the end.
stages AS (
    SELECT
        r.response_id,
        r.question_id,
        d.domain,
        r.temperature,
        k.rank_value,
        k.n_candidates,
        k.candidate_rank,
        k.kept,
        k.place,
        [{'condition': 'sampled by the teacher', 'holds': r.policy = 'teacher'}]
        || CASE WHEN getvariable('temperature') IS NULL THEN [] ELSE [{
            'condition': concat('sampled at temperature ', getvariable('temperature')),
            'holds': r.temperature = getvariable('temperature')
        }] END
        || CASE WHEN getvariable('model') IS NULL THEN [] ELSE [{
            'condition': concat('sampled by model ', getvariable('model')),
            'holds': r.model = getvariable('model')
        }] END AS asked,
        list_transform(getvariable('filters'), lambda f: {
            'condition': concat(
                'passed filter ', f.filter,
                if(f.version = '', ' (never run)', concat(' (version ', f.version, ')'))
            ),
            'holds': list_contains(e.filters, f.filter)
        }) AS filtered,
        CASE WHEN NOT getvariable('require_scores') THEN [] ELSE
            [
                {'condition': 'scored by the teacher', 'holds': s.by_teacher},
                {'condition': 'scored by the student', 'holds': s.by_student}
            ]
            || CASE WHEN getvariable('distilled') IS NULL THEN [] ELSE [
                {'condition': 'scored by the distilled model', 'holds': s.by_distilled}
            ] END
            || [{
                'condition': concat(
                    'with a sentence of min_tokens (', getvariable('min_tokens'), ') or more under both'
                ),
                -- What holds all of the above is in the pool where it has such a sentence.
                'holds': CASE WHEN k.response_id IS NOT NULL THEN true END
            }]
        END AS compared,
        CASE WHEN getvariable('budget') IS NULL THEN [] ELSE [{
            'condition': 'in a domain with a budget',
            'holds': getvariable('budget')[coalesce(d.domain, 'other')] > 0
        }] END
        || CASE WHEN getvariable('min_candidates') = 1 THEN [] ELSE [{
            'condition': concat(getvariable('min_candidates'), ' candidates or more of its question'),
            'holds': k.n_candidates >= getvariable('min_candidates')
        }] END
        || [{
            'condition': concat('among the best ', getvariable('keep'), ' of its question'),
            'holds': k.candidate_rank <= getvariable('keep')
        }]
        || CASE WHEN getvariable('budget') IS NULL THEN [] ELSE [{
            'condition': 'within the budget of its domain',
            'holds': k.kept AND k.place <= getvariable('budget')[coalesce(d.domain, 'other')]
        }] END AS ranked
    FROM responses AS r
    INNER JOIN question_domains AS d USING (question_id)
    LEFT JOIN ranked AS k USING (response_id)
    LEFT JOIN passed AS e ON r.response_id = e.response_id
    LEFT JOIN scored AS s ON r.response_id = s.response_id
),

ordered AS (
    SELECT
        * EXCLUDE (asked, filtered, compared, ranked),
        CASE
            WHEN getvariable('filter_after') THEN asked || compared || ranked || filtered
            ELSE asked || filtered || compared || ranked
        END AS conditions
    FROM stages
)

SELECT
    *,
    coalesce(
        list_position(list_transform(conditions, lambda c: coalesce(c.holds, false)), false) - 1,
        len(conditions)
    )::INTEGER AS reached
FROM ordered
