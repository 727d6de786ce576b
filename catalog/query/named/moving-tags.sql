-- Tags that were moved most often.
-- $limit = 20: rows at most
SELECT repository, tag, count(*) - 1 AS moves, max(version) AS last_version
FROM changes WHERE kind = 'tag' AND action = 'add' GROUP BY repository, tag HAVING count(*) > 1
ORDER BY moves DESC, repository, tag LIMIT $limit
