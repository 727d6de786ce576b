"""One repository that several registries hold: mirrors first, then the origin.

`record` says where mirrors are, `health` which of them to try first, `repository` reads from them in turn.
Leans on the repository client in `oci.remote`.
"""
