"""Pull-through caches: what a client requests below a cache's path is fetched, then served.

`admission` decides whether upstream may be asked; `ingest` commits what it sent; requests for one thing are joined.
Blobs are fetched in `registry_api.on_demand`; which content a cache admits is in `catalog.distributions`.
Leans on `http` and `context`.
"""
