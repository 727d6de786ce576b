-- Distributions that are pinned to a version, and how far that is behind the latest.
SELECT path, repository, distributions.version, repositories.version AS latest, updated_at AS latest_made_at,
    repositories.version - distributions.version AS versions_behind
FROM (SELECT path, repository, version FROM distributions WHERE version IS NOT NULL) distributions
JOIN repositories ON name = repository ORDER BY versions_behind DESC, path
