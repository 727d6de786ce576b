"""Commands for access and rules: user, token, access, quota, retention, hook, subscription, remote, event.

Each module is one noun with its verbs.
Leans on `catalog.access`, `catalog.webhooks` and the records of each noun.
"""
