"""Background tasks of a serving process: they run from its start to its end, beside the requests.

`tasks` starts and ends them all; each other module has one. A task logs what fails, and tries again.
Writing pull counts is in `registry_api.v2.pull_counting`, delivering events in `registry_api.webhooks.background`.
Leans on `context`, `v2` and `webhooks`.
"""
