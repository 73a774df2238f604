-- What the split was chosen from: candidates per question, lengths, and how the models differ.
SELECT
    quantile_disc(n_candidates, 0.5) AS median_candidates,
    round(sum(chosen_bytes) / sum(n_chosen) / (sum(n_bytes) / sum(n_candidates)), 3)
        AS length_ratio,
    round(sum(teacher_count) / sum(n_sentences), 4) AS teacher_share,
    round(sum(shared_count) / sum(n_sentences), 4) AS shared_share
FROM (
    SELECT
        count(*) AS n_candidates,
        sum(n_bytes) AS n_bytes,
        count(*) FILTER (WHERE response_id IN (SELECT response_id FROM _chosen)) AS n_chosen,
        sum(n_bytes) FILTER (WHERE response_id IN (SELECT response_id FROM _chosen)) AS chosen_bytes,
        sum(n_sentences) AS n_sentences,
        sum(teacher_count) AS teacher_count,
        sum(shared_count) AS shared_count
    FROM pool
    GROUP BY question_id
)
