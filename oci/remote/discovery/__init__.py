"""What another installation serves, asked of its management API.

An Entrepôt's, a Pulp's, or the catalog of a plain registry; `served` is the form all of them are read into.
Which of the paths are replicated is planned in `catalog.distributions.replication`.
Leans on the transport in `oci.remote`.
"""
