-- When each tag was pulled last, those of long ago first.
-- $limit = 100: rows at most
SELECT repository, tag, sum(pulls) AS pulls, max(last_pulled_at) AS last_pulled_at
FROM pulls SEMI JOIN tags USING (repository, tag) GROUP BY repository, tag
ORDER BY last_pulled_at, repository, tag LIMIT $limit
