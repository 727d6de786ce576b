-- Repositories that nothing has changed for so many days.
-- $days = 180: how long
-- $limit = 1000: rows at most
SELECT name, version, tags, size_bytes, updated_at FROM repositories WHERE updated_at < moment() - to_days($days)
ORDER BY updated_at, name LIMIT $limit
