"""The filter language: which tags, platforms, companions and content an operation selects.

Pure rules over tags and facts, the same in every command, form and rule.
Facts come from `catalog.versions.manifest_facts`, or from an upstream (`flows.sync.facts`).
Leans on `oci` alone.
"""
