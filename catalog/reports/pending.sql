-- Rows whose response is not there (yet), by table.
SELECT 'announced' AS relation, count(*) AS n FROM announced ANTI JOIN responses USING (response_id)
UNION ALL
SELECT 'tokens' AS relation, count(*) AS n FROM tokens ANTI JOIN responses USING (response_id)
UNION ALL
SELECT 'sentences' AS relation, count(*) AS n FROM sentences ANTI JOIN responses USING (response_id)
UNION ALL
SELECT 'sentence_scores' AS relation, count(*) AS n
FROM sentence_scores ANTI JOIN responses USING (response_id)
UNION ALL
SELECT 'flags' AS relation, count(*) AS n FROM flags ANTI JOIN responses USING (response_id)
UNION ALL
SELECT 'verdicts' AS relation, count(*) AS n FROM verdicts ANTI JOIN responses USING (response_id)
