-- Tags that nobody has pulled, by tag or by digest, since pulls are counted.
-- $limit = 1000: rows at most
SELECT repository, tag, digest, version FROM tags
ANTI JOIN pulls USING (repository, tag)
ANTI JOIN (SELECT repository, digest FROM pulls) USING (repository, digest)
ORDER BY repository, tag LIMIT $limit
