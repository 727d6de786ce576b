-- Tags of images that lack a platform.
-- $platform = "linux/arm64": platform that is wanted
-- $limit = 1000: rows at most
WITH offered AS (
    SELECT repository, digest, os || '/' || architecture AS platform FROM images
    UNION ALL
    SELECT repository, digest, (unnest(children)).platform FROM manifests WHERE kind IN ('index', 'artifact')
)
SELECT repository, tag, string_agg(DISTINCT platform, ', ' ORDER BY platform) AS platforms
FROM tags JOIN offered USING (repository, digest)
GROUP BY repository, tag HAVING NOT bool_or(platform = $platform OR starts_with(platform, $platform || '/'))
ORDER BY repository, tag LIMIT $limit
