-- How many manifests there are of each kind and artifact type.
SELECT kind, artifact_type, count(DISTINCT digest) AS manifests, count(DISTINCT repository) AS repositories
FROM manifests GROUP BY kind, artifact_type ORDER BY manifests DESC, kind, artifact_type
