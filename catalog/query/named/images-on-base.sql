-- Tags whose image was built on a base image, by the name that its annotation or label gives.
-- $base = "%": the base's name, a pattern of LIKE
-- $limit = 1000: rows at most
SELECT base_name, repository, tag, digest, created FROM images JOIN tags USING (repository, digest)
WHERE base_name <> '' AND base_name LIKE $base ORDER BY base_name, repository, tag LIMIT $limit
