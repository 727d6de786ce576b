"""Records of other registries: address, login, TLS, mirrors, proxy, budget and bandwidth.

`clients` makes a client of `oci.remote` from settings and record; `budgets` shares a budget between processes.
Requests themselves are sent in `oci.remote`.
Leans on `lake`, and on `blobs.origins` for the places a blob can come from.
"""
