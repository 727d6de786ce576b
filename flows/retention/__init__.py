"""The flow `apply-retention`: what no rule keeps leaves the latest versions; old versions are deleted.

Rules and plan are in `catalog.retention`.
Leans on `runs` and `forms`.
"""
