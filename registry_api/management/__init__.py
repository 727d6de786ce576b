"""Management JSON under `/api/v1`: content, versions, accounts, quotas, retention, remotes, queries.

One module for each subject; `dependencies` has what the routes share.
Hooks and subscriptions have their routes in `registry_api.webhooks`.
Leans on `auth`, `http` and `context`.
"""
