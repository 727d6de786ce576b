"""The flow `replicate-registry`: serve what another installation serves, paths and digests alike.

Each path is synced by `sync`; which distributions to switch is planned in `catalog.distributions.replication`.
Leans on `runs`, `forms` and `sync`.
"""
