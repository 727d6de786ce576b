"""Retention: the rules of which tags and versions are kept, and the plan that follows from them.

`rules` are records, `plan` is a pure function; nothing is deleted here.
The flow that applies a plan is in `flows.retention`.
Leans on `filters`, `versions` and `catalog.pull_counts`.
"""
