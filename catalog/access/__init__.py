"""Who may do what: accounts, groups, access rules, passwords and tokens.

`policy` decides and does no I/O; `store` keeps the policy in a file of mode 0600, or where all machines share it.
What an HTTP request presents as a login is read in `registry_api.auth`.
Leans on `catalog.audit`, `catalog.path_patterns` and `catalog.state`.
"""
