"""Events over HTTP: the receiver of hooks, the routes that administer them, the background tasks.

`receiver` takes an upstream's notification; `flow_runs` starts flow runs through Prefect's HTTP API.
`subscribers` notifies others of commits.
Records, queue and delivery are in `catalog.webhooks`.
Leans on `auth`, `http`, `context` and `management.dependencies`.
"""
