"""Trust policies: by whom content must be signed, what must be attested about it, and whether a manifest satisfies that.

`document` is the policy as people write it, `evaluation` the decision over values, `explanation` what it says.
`evidence` reads what lies beside a manifest, `store` keeps policies, `formats` reads and writes those of other programs.
Signatures themselves are made in `catalog.signing`; the cryptography is in `oci.signing`.
Leans on `state`, `versions` and `catalog.path_patterns`.
"""
