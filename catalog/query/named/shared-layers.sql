-- Layers and configs that several repositories share, and the bytes that holding them once saves.
-- $limit = 20: rows at most
WITH spread AS (
    SELECT hash(digest) AS blob, any_value(size) AS bytes, count(*) AS places
    FROM members WHERE kind = 'blob' GROUP BY blob HAVING count(*) > 1
), most AS (
    SELECT blob, bytes, places, bytes * (places - 1) AS saved FROM spread ORDER BY saved DESC, blob LIMIT $limit
)
SELECT any_value(digest) AS digest, any_value(bytes) AS size, any_value(places) AS repositories,
    any_value(saved) AS saved_bytes, min(repository) AS one_of_them
FROM members JOIN most ON blob = hash(digest) WHERE kind = 'blob'
GROUP BY blob ORDER BY saved_bytes DESC, digest
