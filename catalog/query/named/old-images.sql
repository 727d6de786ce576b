-- Tags whose image was built more than so many days ago, the oldest first.
-- $days = 365: age
-- $limit = 100: rows at most
WITH oldest AS (
    SELECT created, repository, tag, digest
    FROM images JOIN tags USING (repository, digest) WHERE created < moment() - to_days($days)
    ORDER BY created, repository, tag LIMIT $limit
)
SELECT created, date_diff('day', created, moment()) AS days, repository, tag, digest
FROM oldest ORDER BY created, repository, tag
