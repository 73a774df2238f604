-- What a SELECT names, as the parser sees it: relations, and the CTEs among them. It binds nothing.
SELECT
    coalesce(json_extract_string(tree, '$..table_name'), []) AS relations,
    coalesce(json_extract_string(tree, '$..cte_map.map[*].key'), []) AS ctes
FROM (SELECT json_serialize_sql(getvariable('docs_sql')) AS tree)
