"""The paths that clients use, and which repository or version each serves.

`records` keeps them, `cache_rules` says what a pull-through cache admits, `replication` compares them with another's.
Answering a request below a path is done in `registry_api.v2`.
Leans on `filters` and `lake`.
"""
