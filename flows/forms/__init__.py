"""Fields that the forms of several flows have: references, filters, modes.

Pydantic types with title, description and check; the form of one flow is in that flow's package.
Leans on `catalog.filters` and the parsers of `oci`.
"""
