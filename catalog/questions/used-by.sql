-- Which manifests are made of a digest: images of a layer, indexes of an image.
-- $digest = "sha256:": the digest
-- $limit = 1000: rows at most
SELECT repository, parent, role, position FROM descriptors WHERE digest = $digest
ORDER BY repository, parent, position LIMIT $limit
