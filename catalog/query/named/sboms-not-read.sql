-- SBOMs whose packages are not known, with the reason.
-- $limit = 1000: rows at most
SELECT repository, image, sbom, state, note FROM sboms WHERE state <> 'read'
ORDER BY repository, image, sbom LIMIT $limit
