"""Prefect's server as a process of ours, and the environment that its clients and workers run with.

`home` holds the environments, `process` starts the server, `server` is what it runs, `guard` says whom it answers.
Servers of others are found in `flows/direct/`.
"""
