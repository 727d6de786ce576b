"""Handlers of the distribution protocol: manifests, blobs, uploads, tags, referrers, deletion.

Each module has one section of the specification; `commits` makes the version that a push or deletion results in.
Routes, rights and caches are decided before, in `registry_api.dispatch`.
Leans on `auth`, `http`, `context` and `on_demand`.
"""
