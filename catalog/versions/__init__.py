"""Versions of repositories: snapshots, changes, history, time, pins, and deletion.

`snapshot` is one version in memory, `snapshot_cache` keeps the latest; `changes` has the pure rules of what changes one.
`change_feed` follows what other processes commit; `timeline` and `time_travel` find earlier versions.
A version is written in `catalog.commits`; what a new one should contain is planned in `catalog.content`.
Leans on `lake`, `blobs`, `quotas`, `filters`, `distributions` and `remotes`.
"""
