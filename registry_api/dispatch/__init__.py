"""The way of a request under /v2 to its handler: route, caller, target, right.

`app` runs these steps; `resolver` finds the target of a path: what it serves now, an earlier version, or a cache.
The handlers themselves are in `registry_api.v2`, one module for each section of the specification.
Leans on `auth`, `context`, `http`, `pull_through` and `v2`.
"""
