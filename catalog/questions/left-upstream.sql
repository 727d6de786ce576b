-- Blobs that were left upstream and are not here yet, by where they come from.
SELECT remote, policy, count(DISTINCT sources.digest) AS blobs, sum(sources.size) AS bytes
FROM sources JOIN blobs USING (digest) WHERE NOT held GROUP BY remote, policy ORDER BY bytes DESC, remote
