"""The client of other registries: transport, repositories, uploads, referrers.

`repository` is a Source and a Target for `oci.copy`; `transport` sends every request, with retries and redirects.
What this installation has recorded about a registry is in `catalog.remotes`.
Leans on `auth`, `limits` and `network`; `mirrors`, `signatures` and `discovery` lean on this package.
"""
