"""Events in and out: hooks that start flow runs, subscriptions that are notified, and their queue.

`records` and `queue` are kept beside the catalogue; `delivery` sends one notification.
HTTP routes and background tasks are in `registry_api.webhooks`.
Leans on `access`, `commits`, `filters`, `distributions`, `state` and `versions`.
"""
