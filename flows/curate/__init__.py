"""The flows `curate-repository` and `restore-version`: one new version from content that is held here.

The rules of both are in `catalog.content`.
Leans on `runs` and `forms`.
"""
