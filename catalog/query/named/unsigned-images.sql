-- Tags of images and indexes that nothing in their repository signs.
-- $limit = 1000: rows at most
SELECT repository, tag, digest, kind FROM tags
JOIN (SELECT repository, digest, kind FROM manifests WHERE kind IN ('image', 'index', 'flatpak', 'bootable'))
    USING (repository, digest)
ANTI JOIN (SELECT repository, subject AS digest FROM referrers WHERE is_signature) USING (repository, digest)
ORDER BY repository, tag LIMIT $limit
