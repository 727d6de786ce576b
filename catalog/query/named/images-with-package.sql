-- Served images that hold a package, by name and by a range of its versions.
-- $package = "openssl": the name, with its namespace or not, or a package URL
-- $versions = "": <1.2, >=1.0,<1.2, vers:deb/<1.2; empty: all versions
-- $limit = 1000: rows at most
SELECT DISTINCT path, array_to_string(tags, ', ') AS tags, image, purl, version, sbom
FROM served_packages_in($package, $versions)
ORDER BY path, image, purl, sbom LIMIT $limit
