-- Images by the value of a label.
-- $label = "org.opencontainers.image.licenses": the label
-- $limit = 100: rows at most
SELECT labels[$label] AS value, count(DISTINCT digest) AS images, count(DISTINCT repository) AS repositories,
    min(repository) AS one_of_them
FROM images WHERE labels[$label] IS NOT NULL GROUP BY value ORDER BY images DESC, value LIMIT $limit
