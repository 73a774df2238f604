/* description = "rows that name a question or a scorer that is not there" */
SELECT
    'responses' AS relation,
    response_id AS key,
    'its question ' || coalesce(question_id, 'NULL') || ' is not there' AS problem
FROM responses
ANTI JOIN questions USING (question_id)
UNION ALL
SELECT
    'sentence_scores' AS relation,
    concat_ws(' ', response_id, scorer_id, segmentation_id) AS key,
    'its scorer is not there' AS problem
FROM sentence_scores
ANTI JOIN scorers USING (scorer_id)
UNION ALL
SELECT
    'repeat_scores' AS relation,
    concat_ws(' ', response_id, scorer_id, segmentation_id) AS key,
    'its scorer is not there' AS problem
FROM repeat_scores
ANTI JOIN scorers USING (scorer_id)
UNION ALL
SELECT
    'tokens' AS relation,
    concat_ws(' ', response_id, scorer_id) AS key,
    'its scorer is not there' AS problem
FROM tokens
ANTI JOIN scorers USING (scorer_id)
