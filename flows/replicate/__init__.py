"""The flow `replicate-registry`: serve what another installation serves, paths and digests alike.

`sync_many` syncs the paths, over workers. `catalog.distributions.replication` plans which distributions to switch.
Leans on `runs`, `forms`, `sync` and `sync_many`.
"""
