"""Atomic signatures that a registry keeps outside its manifests.

Reads lookaside addresses, and presents what it finds as referrers of the manifests.
Checking a signature is done in `oci.signing`.
"""
