"""The registry for clients: the distribution protocol under `/v2/`, tokens, management JSON, health.

`app` assembles one ASGI application; `context` is what every handler works with.
No rules about content: those are in `catalog`. Nothing of Prefect is imported.
Leans on `catalog` and `oci`.
"""
