"""The flow `build-image`: a Containerfile becomes a version.

`buildah` wraps the program; the flow copies the result in and attaches its provenance.
Signers are read as in `sign`.
Leans on `runs`, `forms` and `sign`.
"""
