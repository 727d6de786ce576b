-- The images that take the most bytes to pull.
-- $limit = 20: rows at most
WITH biggest AS (
    SELECT repository, digest, size_bytes, layers FROM images ORDER BY size_bytes DESC, repository, digest LIMIT $limit
)
SELECT repository, digest, size_bytes, layers,
    (SELECT string_agg(tag, ', ' ORDER BY tag) FROM tags
        WHERE tags.repository = biggest.repository AND tags.digest = biggest.digest) AS tags
FROM biggest ORDER BY size_bytes DESC, repository, digest
