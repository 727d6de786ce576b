-- Who made versions within the last days, how many, of which repositories.
-- $days = 30: how far to look back
-- $limit = 100: rows at most
SELECT actor, operation, count(*) AS versions, count(DISTINCT repository) AS repositories, max(created_at) AS last_at,
    arg_max(repository, created_at) AS last_repository
FROM versions WHERE created_at > moment() - to_days($days)
GROUP BY actor, operation ORDER BY versions DESC, actor, operation LIMIT $limit
