-- Share of the sentences of the split, and of its pool, under each label; `boosted` is empty where
-- no distilled model is set.
WITH labelled AS (
    SELECT *, response_id IN (SELECT response_id FROM _chosen) AS chosen
    FROM pool
    WHERE n_sentences IS NOT NULL
)

SELECT
    unnest(['split', 'pool']) AS rows,
    unnest([sum(n_sentences) FILTER (WHERE chosen), sum(n_sentences)])::BIGINT AS sentences,
    unnest([
        round(sum(teacher_count) FILTER (WHERE chosen) / sum(n_sentences) FILTER (WHERE chosen), 4),
        round(sum(teacher_count) / sum(n_sentences), 4)
    ]) AS teacher,
    unnest([
        round(sum(shared_count) FILTER (WHERE chosen) / sum(n_sentences) FILTER (WHERE chosen), 4),
        round(sum(shared_count) / sum(n_sentences), 4)
    ]) AS shared,
    unnest([
        round(sum(student_count) FILTER (WHERE chosen) / sum(n_sentences) FILTER (WHERE chosen), 4),
        round(sum(student_count) / sum(n_sentences), 4)
    ]) AS student,
    unnest(CASE WHEN getvariable('distilled') IS NULL THEN [NULL, NULL] ELSE [
        round(sum(boosted_count) FILTER (WHERE chosen) / sum(n_sentences) FILTER (WHERE chosen), 4),
        round(sum(boosted_count) / sum(n_sentences), 4)
    ] END) AS boosted
FROM labelled
