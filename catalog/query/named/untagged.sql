-- Manifests that have no tag, are in no index and refer to nothing.
-- $limit = 1000: rows at most
SELECT repository, digest, kind, size, version FROM manifests
ANTI JOIN tags USING (repository, digest)
ANTI JOIN (SELECT repository, (unnest(children)).digest AS digest FROM manifests WHERE kind IN ('index', 'artifact'))
    USING (repository, digest)
WHERE subject = '' ORDER BY repository, digest LIMIT $limit
