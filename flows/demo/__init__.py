"""The demonstration of `entrepot up --demo`: a small upstream, and what its pipeline is asked to do.

Makes its content itself, so that it needs no network.
Leans on the forms of `sync` and `pipeline`.
"""
