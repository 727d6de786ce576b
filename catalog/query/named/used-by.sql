-- Which manifests are made of a digest: images of a layer, indexes of an image.
-- $digest = "sha256:": the digest
-- $limit = 1000: rows at most
WITH parents AS MATERIALIZED (
    SELECT repository, digest FROM manifests
    WHERE list_contains(part_keys, content_key($digest))
    ORDER BY repository, digest LIMIT $limit
)
SELECT repository, parent, child.role AS role, place - 1 AS position
FROM (SELECT repository, digest AS parent, generate_subscripts(children, 1) AS place, unnest(children) AS child
    FROM manifests WHERE repository IN (SELECT repository FROM parents) AND digest IN (SELECT digest FROM parents))
WHERE child.digest = $digest ORDER BY repository, parent, position LIMIT $limit
