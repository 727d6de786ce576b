"""How flows run: flows, tasks, logs, artifacts and slots, by Prefect's engine or by this process itself.

Flows import these instead of Prefect. Within a run that Prefect's engine runs, each passes on to Prefect; within a
`DirectRun` nothing of Prefect is imported. Where runs of commands begin and end is in `flows/direct/`.
Leans on `console`.
"""
