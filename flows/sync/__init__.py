"""The flow `sync-repository`: tags of an upstream become one new version here.

Five stages, each a frozen value made of the one before: `selection`, `resolution`, `planning`, `copying`, `committing`.
`procedure` runs them over a `context`; `flow` is Prefect's view of it. `sources` reads one or more upstreams as one.
Leans on `runs` and `forms`.
"""
