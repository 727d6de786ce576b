"""Prefect itself: deployments, the worker and its engine, and the course of `entrepot up`.

Registers prefect.yaml, runs a deployment, and brings up everything that one machine needs.
No flow is defined here. Processes are in `processes/`, the server in `servers/`, runs of commands in `ad_hoc/`.
Leans on `console`, `forms`, `runs` and `recovery`, and on `demo` for the first start.
"""
