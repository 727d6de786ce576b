"""How much may be asked of one registry: request budget, rate and bandwidth.

Pure rules, and the counters that all connections of one process to a registry share.
Processes share a budget through the files of `catalog.remotes.budgets`.
"""
