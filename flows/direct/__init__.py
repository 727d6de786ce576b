"""Flow runs in a command's own process, without Prefect's engine; where there is a Prefect server, it is handed the record.

The flows are the same: `flows/engine/` is what they see of whoever runs them. What a worker runs is run by Prefect's engine.
Leans on `engine`, `console`, `forms`, `recovery` and `runs`.
"""
