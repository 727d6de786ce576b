-- Tags that were added, moved or removed within the last hours, and who did it.
-- $hours = 24: how far to look back
-- $limit = 1000: rows at most
WITH recent AS (
    SELECT repository, number AS version, created_at, operation, actor FROM versions
    WHERE created_at > moment() - to_hours($hours)
), changed AS (
    SELECT repository, version, tag, max(digest) FILTER (action = 'remove') AS before,
        max(digest) FILTER (action = 'add') AS after
    FROM changes SEMI JOIN recent USING (repository, version) WHERE kind = 'tag' GROUP BY ALL
)
SELECT created_at, repository, version, tag,
    CASE WHEN after IS NULL THEN 'removed' WHEN before IS NULL THEN 'added' ELSE 'moved' END AS change,
    before, after, operation, actor
FROM changed JOIN recent USING (repository, version) ORDER BY created_at DESC, repository, tag LIMIT $limit
