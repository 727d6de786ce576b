"""The flow `sync-many`: many syncs, in chunks that several workers run at once.

`chunking` splits the syncs, `slots` asks Prefect for workers, `chunk_runs` speaks of flow runs, `fan_out` brings these together.
`chunk` syncs the repositories of one chunk, in whatever process; `patterns` finds what patterns select.
Leans on `runs`, `forms` and `sync`.
"""
