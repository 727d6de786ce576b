-- Content that several repositories have under a tag.
-- $limit = 100: rows at most
SELECT digest, count(DISTINCT repository) AS repositories,
    string_agg(repository || ':' || tag, ', ' ORDER BY repository, tag) AS names
FROM tags SEMI JOIN (SELECT digest FROM tags GROUP BY digest HAVING min(repository) <> max(repository)) USING (digest)
GROUP BY digest ORDER BY repositories DESC, digest LIMIT $limit
