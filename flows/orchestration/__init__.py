"""Prefect itself: server, worker, deployments, and the processes of `entrepot up`.

Registers prefect.yaml, runs a flow for one command, and stops every child process with its parent.
No flow is defined here.
Leans on `runs` and `recovery`, and on `demo` for the first start.
"""
