"""Search: what repositories hold, by text, digest, label and package, in an index beside the catalogue.

The index is a file of SQLite, which any process of this machine makes anew where it is missing. It is a cache: without it, and as
long as it is behind, the lake is asked. What is found is found by repository and version; the caller says which may be looked at.
Leans on `lake`, `lake/metadata`, `blobs`, `versions` and `documents`.
"""
