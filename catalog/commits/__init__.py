"""Commits: the one writer of versions, and the log of what each commit made.

`commit` groups what waits into one transaction, and checks requirements and quotas; `commit_log` is read by subscribers.
The changes of a commit are values of `catalog.versions.changes`.
Leans on `versions`, `blobs`, `distributions`, `quotas` and `lake`.
"""
