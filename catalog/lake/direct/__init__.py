"""Direct commits: small appends written straight into DuckLake's bookkeeping, without DuckDB.

A process of its own writes them (`worker`), since two SQLite libraries in one process drop each other's locks and lose commits.
`columns`, `statistics` and `append` are the rules; `transaction` acts on SQLite; `supervisor` starts the worker and asks it;
`choice` says which commits take this way. DuckDB's own writer takes all others (docs/adr/0019-direct-commits.md).
Source: DuckLake specification 1.0, and what DuckDB 1.5.5 writes.
"""
