"""Flow runs whose process has ended: found, ended, and started again.

`run_locks` tells which runs are alive, `orphans` decides, `reaper` acts through Prefect's API.
Processes are started and stopped in `orchestration`.
"""
