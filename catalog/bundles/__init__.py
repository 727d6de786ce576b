"""Bundles: versions of repositories as a folder or a tar, for places without a network.

`format` is the document inside, `files` the folder or tar; `writer` exports and `reader` imports.
The flows that run an export or an import are in `flows.bundles`.
Leans on `content`, `blobs` and `versions`.
"""
