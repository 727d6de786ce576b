"""Quotas: how many bytes and tags the repositories below a path pattern may hold.

`quotas` are the records and the decision, `totals` what is used, kept in memory.
A commit asks here before it is written.
Leans on `lake` and `catalog.path_patterns`.
"""
