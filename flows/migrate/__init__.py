"""The flows `migrate-folder`, `migrate-harbor`, `migrate-pulp` and `migrate-quay`: copy another registry, compare both.

Each repository is a sync, by the stages of `flows/sync`; many are synced as `flows/sync_many` does. `comparison` asks both ends.
Moving the catalogue to another database is something else: `flows/storage/migrate_flow.py`.
"""
