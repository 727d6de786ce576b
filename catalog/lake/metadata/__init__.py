"""DuckLake's metadata catalogue: where the bookkeeping of snapshots lies, who may write, and how others learn of commits.

`sqlite`: one file of one machine. `postgresql`: a database that any number of machines share (docs/adr/0021-postgresql.md).
"""
