-- Tags of images that have no SBOM.
-- $limit = 1000: rows at most
SELECT repository, tag, digest FROM tags
SEMI JOIN images USING (repository, digest)
ANTI JOIN (SELECT repository, subject AS digest FROM referrers WHERE kind = 'sbom') USING (repository, digest)
ORDER BY repository, tag LIMIT $limit
