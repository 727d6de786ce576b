"""Flow runs of commands that need Prefect's engine: in the command's own process, with a server found or started.

`server` points this process to a Prefect API, `used_api` watches it, `run` runs a flow and tells what became of it.
What needs no engine runs in `flows/direct/`.
"""
