"""The distribution protocol: manifests, blobs, uploads, tags, referrers, deletion.

`app` routes a request, checks it and calls a handler; each handler module has one section of the specification.
`commits` makes the version that a push or deletion results in.
Leans on `auth`, `http`, `context`, `on_demand` and `pull_through`.
"""
