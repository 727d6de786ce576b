"""Registries as folders: the storage of docker-registry, and folders of OCI image layouts, read as Sources.

Whoever wrote such a folder is not trusted: `contained` follows no link and reads nothing outside of it. `stock` is what both
kinds of folder are read into. An image layout is written by `oci/layout.py`.
"""
