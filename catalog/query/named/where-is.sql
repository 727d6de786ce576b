-- What a digest is, in which repositories it is, under which tags, and at which paths it is served.
-- $digest = "sha256:": the digest
WITH found AS (
    SELECT repository, digest, max(CASE kind WHEN 'tag' THEN '' ELSE kind END) AS what, max(size) AS size,
        min(since) AS since, string_agg(tag, ', ' ORDER BY tag) FILTER (kind = 'tag') AS tags
    FROM members WHERE digest = $digest GROUP BY repository, digest
)
SELECT repository, what, size, since, tags,
    (SELECT string_agg(path, ', ' ORDER BY path) FROM distributions
        WHERE distributions.repository = found.repository AND (version IS NULL OR version >= since)) AS served_at
FROM found ORDER BY repository
