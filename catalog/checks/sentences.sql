/* description = "sentences that do not tile the text of their response" */
SELECT
    'sentences' AS relation,
    concat_ws(' ', s.response_id, s.segmenter) AS key,
    CASE
        WHEN len(s.byte_end) IS DISTINCT FROM len(s.kind)
            OR len(s.byte_end) IS DISTINCT FROM len(s.section)
            THEN 'byte_end, kind and section have ' || concat_ws(
                ', ', coalesce(len(s.byte_end), -1), coalesce(len(s.kind), -1),
                coalesce(len(s.section), -1)
            ) || ' entries'
        WHEN s.byte_end IS DISTINCT FROM list_sort(list_distinct(s.byte_end))
            THEN 'byte_end does not rise'
        WHEN coalesce(s.byte_end[-1], 0) <> r.seam + strlen(coalesce(r.answer, ''))
            THEN 'byte_end ends at ' || coalesce(s.byte_end[-1], 0) || ', and the text has '
                || (r.seam + strlen(coalesce(r.answer, ''))) || ' bytes'
        WHEN r.seam > 0 AND NOT list_contains(s.byte_end, r.seam::INTEGER)
            THEN 'a sentence crosses the seam of thinking and answer at byte ' || r.seam
    END AS problem
FROM sentences AS s
INNER JOIN (
    SELECT response_id, answer, strlen(coalesce(thinking, '')) AS seam FROM responses
) AS r USING (response_id)
WHERE problem IS NOT NULL
