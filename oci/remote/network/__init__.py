"""Where requests may go: origins, internal addresses, loops of caches, remotes that are silent.

Rules that every connection to a registry obeys; requests themselves are sent by `oci.remote.transport`.
Leans on no other package.
"""
