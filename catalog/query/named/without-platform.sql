-- Tags of images that lack a platform.
-- $platform = "linux/arm64": platform that is wanted
-- $limit = 1000: rows at most
WITH offered AS (
    SELECT repository, digest, os || '/' || architecture AS platform FROM images
    UNION ALL
    SELECT repository, digest, (unnest(children)).platform FROM manifests WHERE kind IN ('index', 'artifact')
), lacking AS (
    SELECT repository, tag, digest FROM tags
    SEMI JOIN (FROM offered WHERE platform IS NOT NULL) USING (repository, digest)
    ANTI JOIN (FROM offered WHERE platform = $platform OR starts_with(platform, $platform || '/')) USING (repository, digest)
    ORDER BY repository, tag LIMIT $limit
)
SELECT repository, tag, string_agg(DISTINCT platform, ', ' ORDER BY platform) AS platforms
FROM lacking JOIN offered USING (repository, digest) GROUP BY repository, tag ORDER BY repository, tag
