"""Commands that care for the store: gc, usage, scrub, maintain, prefetch, reclaim, evict.

Each reads its options into a form of `flows.storage` and prints the result.
Leans on `cli.flow_runs`.
"""
