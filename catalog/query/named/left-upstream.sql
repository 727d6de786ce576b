-- Blobs that were left upstream and are not here yet, by where they come from.
SELECT remote, policy, count(*) AS blobs, sum(claimed) AS bytes
FROM (SELECT remote, policy, digest, max(size) AS claimed FROM sources GROUP BY remote, policy, digest)
JOIN blobs USING (digest) WHERE NOT held GROUP BY remote, policy ORDER BY bytes DESC, remote
