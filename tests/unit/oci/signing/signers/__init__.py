"""Unit tests of `oci.signing.signers`."""
