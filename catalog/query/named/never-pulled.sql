-- Tags that nobody has pulled since pulls are counted, neither by name nor by the digest that they point to.
-- $limit = 1000: rows at most
SELECT repository, tag, digest, version FROM tags
ANTI JOIN pulls USING (repository, tag)
ANTI JOIN (SELECT repository, digest FROM pulls WHERE tag = '') USING (repository, digest)
ORDER BY repository, tag LIMIT $limit
