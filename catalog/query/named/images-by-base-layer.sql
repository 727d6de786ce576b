-- Images grouped by their lowest layer: what has to be built again when a base is.
-- $limit = 20: rows at most
SELECT base_layer, count(DISTINCT digest) AS images, count(DISTINCT repository) AS repositories,
    max(base_name) AS base_name, min(repository) AS one_of_them
FROM images WHERE base_layer IS NOT NULL GROUP BY base_layer ORDER BY images DESC, base_layer LIMIT $limit
