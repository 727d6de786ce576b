"""The content store: bytes by digest, in a local folder or an S3 bucket.

`uploads` is the one way by which bytes enter, and verifies them; `shared_uploads` has its sessions over several machines.
`index` records which blobs are held.
`origins` records where a blob that is not held can be fetched.
Which version needs a blob is recorded in `catalog.history.versions`; deleting blobs is in `catalog.maintenance`.
Leans on `catalog.database` and `catalog.lake`.
"""
