-- How many images there are for each platform.
SELECT os, architecture, variant, count(DISTINCT digest) AS images, count(DISTINCT repository) AS repositories
FROM images GROUP BY os, architecture, variant ORDER BY images DESC, os, architecture, variant
