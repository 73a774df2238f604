/*
description = "one row per response: every condition of the selection in the order it is applied, whether it holds, and how many hold before the first that does not"

[columns]
conditions = "every condition of the selection in the order it is applied"
holds = "whether each of them holds; empty: it was not come to"
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

-- Conditions in words, and whether they hold. One that is not asked for is an empty list.
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
        ['sampled by the teacher']
        || CASE WHEN getvariable('temperature') IS NULL THEN [] ELSE [
            concat('sampled at temperature ', getvariable('temperature'))
        ] END
        || CASE WHEN getvariable('model') IS NULL THEN [] ELSE [
            concat('sampled by model ', getvariable('model'))
        ] END AS asked,
        [r.policy = 'teacher']
        || CASE WHEN getvariable('temperature') IS NULL THEN [] ELSE [
            r.temperature = getvariable('temperature')
        ] END
        || CASE WHEN getvariable('model') IS NULL THEN [] ELSE [
            r.model = getvariable('model')
        ] END AS asked_holds,
        list_transform(getvariable('filters'), lambda f: concat(
            'passed filter ', f.filter,
            if(f.version = '', ' (never run)', concat(' (version ', f.version, ')'))
        )) AS filtered,
        list_transform(
            getvariable('filters'), lambda f: list_contains(e.filters, f.filter)
        ) AS filtered_holds,
        CASE WHEN NOT getvariable('require_scores') THEN [] ELSE
            ['scored by the teacher', 'scored by the student']
            || CASE WHEN getvariable('distilled') IS NULL THEN [] ELSE [
                'scored by the distilled model'
            ] END
            || [concat(
                'with a sentence of min_tokens (', getvariable('min_tokens'), ') or more under both'
            )]
        END AS compared,
        CASE WHEN NOT getvariable('require_scores') THEN [] ELSE
            [s.by_teacher, s.by_student]
            || CASE WHEN getvariable('distilled') IS NULL THEN [] ELSE [s.by_distilled] END
            -- What holds all of the above is in the pool where it has such a sentence.
            || [CASE WHEN k.response_id IS NOT NULL THEN true END]
        END AS compared_holds,
        CASE WHEN getvariable('budget') IS NULL THEN [] ELSE ['in a domain with a budget'] END
        || CASE WHEN getvariable('min_candidates') = 1 THEN [] ELSE [
            concat(getvariable('min_candidates'), ' candidates or more of its question')
        ] END
        || [concat('among the best ', getvariable('keep'), ' of its question')]
        || CASE WHEN getvariable('budget') IS NULL THEN [] ELSE [
            'within the budget of its domain'
        ] END AS ranked,
        CASE WHEN getvariable('budget') IS NULL THEN [] ELSE [
            getvariable('budget')[coalesce(d.domain, 'other')] > 0
        ] END
        || CASE WHEN getvariable('min_candidates') = 1 THEN [] ELSE [
            k.n_candidates >= getvariable('min_candidates')
        ] END
        || [k.candidate_rank <= getvariable('keep')]
        || CASE WHEN getvariable('budget') IS NULL THEN [] ELSE [
            k.kept AND k.place <= getvariable('budget')[coalesce(d.domain, 'other')]
        ] END AS ranked_holds
    FROM responses AS r
    INNER JOIN question_domains AS d USING (question_id)
    LEFT JOIN ranked AS k USING (response_id)
    LEFT JOIN passed AS e ON r.response_id = e.response_id
    LEFT JOIN scored AS s ON r.response_id = s.response_id
),

-- `filter_after` moves the filters to the end.
ordered AS (
    SELECT
        * EXCLUDE (
            asked, filtered, compared, ranked,
            asked_holds, filtered_holds, compared_holds, ranked_holds
        ),
        CASE
            WHEN getvariable('filter_after') THEN asked || compared || ranked || filtered
            ELSE asked || filtered || compared || ranked
        END AS conditions,
        CASE
            WHEN getvariable('filter_after')
                THEN asked_holds || compared_holds || ranked_holds || filtered_holds
            ELSE asked_holds || filtered_holds || compared_holds || ranked_holds
        END AS holds
    FROM stages
)

SELECT
    *,
    coalesce(
        list_position(list_transform(holds, lambda h: coalesce(h, false)), false) - 1,
        len(holds)
    )::INTEGER AS reached
FROM ordered
