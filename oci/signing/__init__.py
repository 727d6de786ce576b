"""Signatures over content: keys, payloads, and how each form is made and checked.

Cosign's simple signing, sigstore bundles, keyless signing by an identity, and Atomic signatures with OpenPGP.
Bytes in, bytes or an error out; which manifests of a version are signed is in `catalog.signing`.
Leans on the vocabulary of `oci`.
"""
