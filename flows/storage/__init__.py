"""The flows that care for the store: gc, scrub, maintain, prefetch, reclaim, evict.

Each has a flow and a request; the work itself is in `catalog.maintenance`.
Leans on `runs` and `forms`.
"""
