-- Which manifests are made of a digest: images of a layer, indexes of an image.
-- $digest = "sha256:": the digest
-- $limit = 1000: rows at most
SELECT repository, parent, child.role AS role, place - 1 AS position
FROM (SELECT repository, digest AS parent, generate_subscripts(children, 1) AS place, unnest(children) AS child
    FROM manifests WHERE list_contains(list_transform(children, lambda child: child.digest), $digest))
WHERE child.digest = $digest ORDER BY repository, parent, position LIMIT $limit
