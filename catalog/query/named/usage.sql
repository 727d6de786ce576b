-- Bytes of each repository, those that it shares, and those that deleting it could free.
-- $limit = 100: rows at most
SELECT repository, bytes, shared, own FROM usage ORDER BY own DESC, repository LIMIT $limit
