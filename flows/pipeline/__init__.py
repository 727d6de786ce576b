"""The flow `run-pipeline`: sync, filter, build, sign, attest and export, one after the other.

Each step is the flow of another package; this one passes versions from step to step.
Leans on `sync`, `curate`, `image_build`, `sign` and `bundles`.
"""
