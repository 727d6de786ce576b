-- When each tag was pulled last, by its name or by the digest that it points to, those of long ago first.
-- $limit = 100: rows at most
WITH pulled AS (
    SELECT repository, tag, pulls, last_pulled_at FROM pulls SEMI JOIN tags USING (repository, tag)
    UNION ALL
    SELECT repository, tags.tag, pulls, last_pulled_at
    FROM tags JOIN (FROM pulls WHERE tag = '') by_digest USING (repository, digest)
)
SELECT repository, tag, sum(pulls) AS pulls, max(last_pulled_at) AS last_pulled_at
FROM pulled GROUP BY repository, tag
ORDER BY last_pulled_at, repository, tag LIMIT $limit
