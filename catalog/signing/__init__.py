"""Signatures in a version: which manifests are signed, and what signing adds to the version.

`plan`, `keyless` and `atomic` make signatures and attestations; `verification` finds and checks them.
The cryptography is in `oci.signing`.
Leans on `filters`, `versions` and the open catalogue.
"""
