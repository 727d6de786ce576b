-- Layers and configs that several repositories share, and the bytes that holding them once saves.
-- $limit = 20: rows at most
WITH spread AS (
    SELECT hash(digest) AS blob, any_value(size) AS bytes, count(*) AS places, min(repository) AS one_of_them
    FROM members WHERE kind = 'blob' GROUP BY blob HAVING count(*) > 1
), most AS (
    SELECT *, bytes * (places - 1) AS saved FROM spread ORDER BY saved DESC, blob LIMIT $limit
)
SELECT digest, bytes AS size, places AS repositories, saved AS saved_bytes, one_of_them
FROM most JOIN (SELECT repository, digest FROM members WHERE kind = 'blob')
    ON repository = one_of_them AND hash(digest) = blob
ORDER BY saved_bytes DESC, digest
