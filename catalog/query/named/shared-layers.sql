-- Layers and configs that several repositories share, and the bytes that holding them once saves.
-- $limit = 20: rows at most
WITH spread AS (
    SELECT content_key, any_value(size) AS bytes, count(*) AS places
    FROM contents WHERE kind = 'blob' GROUP BY content_key HAVING count(*) > 1
), most AS (
    SELECT *, bytes * (places - 1) AS saved FROM spread ORDER BY saved DESC, content_key LIMIT $limit
), placed AS MATERIALIZED (
    SELECT content_key, any_value(bytes) AS bytes, any_value(places) AS places, any_value(saved) AS saved,
        min(repository) AS repository
    FROM contents JOIN most USING (content_key) WHERE kind = 'blob' GROUP BY content_key
)
SELECT any_value(digest) AS digest, any_value(bytes) AS size, any_value(places) AS repositories,
    any_value(saved) AS saved_bytes, any_value(repository) AS one_of_them
FROM placed JOIN (SELECT repository, digest, content_key(digest) AS content_key
    FROM changes WHERE kind = 'blob' AND action = 'add' AND repository IN (SELECT repository FROM placed))
    USING (repository, content_key)
GROUP BY content_key ORDER BY saved_bytes DESC, digest
