"""What a new version should contain: curation, edits, promotion, restore, and the diff of two versions.

Plans only; the commit is made by `catalog.commits`.
`copy_ends` makes a repository the Source or Target of a copy; `sboms` reads the packages that SBOMs list.
Leans on `filters`, `signing`, `distributions` and `versions`.
"""
