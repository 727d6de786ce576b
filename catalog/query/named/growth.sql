-- Versions, added tags, manifests and blobs, and added bytes by day.
-- $days = 30: how far to look back
WITH recent AS (
    SELECT repository, number AS version, added, date_trunc('day', created_at) AS day FROM versions
    WHERE created_at > moment() - to_days($days)
), bytes AS (
    SELECT day, sum(size) AS bytes FROM changes JOIN recent USING (repository, version)
    WHERE action = 'add' AND kind <> 'tag' GROUP BY day
)
SELECT day, count(*) AS versions, count(DISTINCT repository) AS repositories, sum(added)::BIGINT AS added, any_value(bytes)::BIGINT AS bytes
FROM recent LEFT JOIN bytes USING (day) GROUP BY day ORDER BY day
