-- Who was refused what within the last days, and how often.
-- $days = 7: how far to look back
-- $limit = 100: rows at most
SELECT actor, action, name, reason, count(*) AS times, max(happened_at) AS last_at, max(address) AS address
FROM events WHERE outcome = 'refused' AND happened_at > moment() - to_days($days)
GROUP BY actor, action, name, reason ORDER BY times DESC, last_at DESC LIMIT $limit
