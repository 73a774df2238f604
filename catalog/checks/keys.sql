/* description = "a key that is there twice" */
SELECT
    'runs' AS relation,
    run_id AS key,
    'the key is there ' || count(*) || ' times' AS problem
FROM runs
GROUP BY run_id
HAVING count(*) > 1
UNION ALL
SELECT
    'run_events' AS relation,
    concat_ws(' ', run_id, sequence) AS key,
    'the key is there ' || count(*) || ' times' AS problem
FROM run_events
GROUP BY run_id, sequence
HAVING count(*) > 1
UNION ALL
SELECT
    'quarantine' AS relation,
    concat_ws(' ', file, line, reason) AS key,
    'the key is there ' || count(*) || ' times' AS problem
FROM quarantine
GROUP BY file, line, reason
HAVING count(*) > 1
UNION ALL
SELECT
    'attempts' AS relation,
    concat_ws(' ', response_id, stage, scorer_id, attempt) AS key,
    'the key is there ' || count(*) || ' times' AS problem
FROM attempts
GROUP BY response_id, stage, scorer_id, attempt
HAVING count(*) > 1
UNION ALL
SELECT
    'questions' AS relation,
    question_id AS key,
    'the key is there ' || count(*) || ' times' AS problem
FROM questions
GROUP BY question_id
HAVING count(*) > 1
UNION ALL
SELECT
    'question_sources' AS relation,
    concat_ws(' ', question_id, source, "row", domain) AS key,
    'the key is there ' || count(*) || ' times' AS problem
FROM question_sources
GROUP BY question_id, source, "row", domain
HAVING count(*) > 1
UNION ALL
SELECT
    'scorers' AS relation,
    concat_ws(' ', scorer_id, name) AS key,
    'the key is there ' || count(*) || ' times' AS problem
FROM scorers
GROUP BY scorer_id, name
HAVING count(*) > 1
UNION ALL
SELECT
    'announced' AS relation,
    response_id AS key,
    'the key is there ' || count(*) || ' times' AS problem
FROM announced
GROUP BY response_id
HAVING count(*) > 1
UNION ALL
SELECT
    'tokens' AS relation,
    concat_ws(' ', response_id, scorer_id) AS key,
    'the key is there ' || count(*) || ' times' AS problem
FROM tokens
GROUP BY response_id, scorer_id
HAVING count(*) > 1
UNION ALL
SELECT
    'sentences' AS relation,
    concat_ws(' ', response_id, segmenter) AS key,
    'the key is there ' || count(*) || ' times' AS problem
FROM sentences
GROUP BY response_id, segmenter
HAVING count(*) > 1
UNION ALL
SELECT
    'sentence_scores' AS relation,
    concat_ws(' ', response_id, scorer_id, segmentation_id) AS key,
    'the key is there ' || count(*) || ' times' AS problem
FROM sentence_scores
GROUP BY response_id, scorer_id, segmentation_id
HAVING count(*) > 1
UNION ALL
SELECT
    'flags' AS relation,
    concat_ws(' ', response_id, filter, version) AS key,
    'the key is there ' || count(*) || ' times' AS problem
FROM flags
GROUP BY response_id, filter, version
HAVING count(*) > 1
UNION ALL
SELECT
    'verdicts' AS relation,
    concat_ws(' ', response_id, verifier, version) AS key,
    'the key is there ' || count(*) || ' times' AS problem
FROM verdicts
GROUP BY response_id, verifier, version
HAVING count(*) > 1
UNION ALL
SELECT
    'responses' AS relation,
    response_id AS key,
    'the key is there ' || count(*) || ' times' AS problem
FROM responses
GROUP BY response_id
HAVING count(*) > 1
UNION ALL
SELECT
    'builds' AS relation,
    build_id AS key,
    'the key is there ' || count(*) || ' times' AS problem
FROM builds
GROUP BY build_id
HAVING count(*) > 1
UNION ALL
SELECT
    'snapshots' AS relation,
    snapshot_id::VARCHAR AS key,
    'the key is there ' || count(*) || ' times' AS problem
FROM snapshots
GROUP BY snapshot_id
HAVING count(*) > 1
