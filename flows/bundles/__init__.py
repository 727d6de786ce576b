"""The flows `export-repositories` and `import-bundle`.

`requests` has their forms and results; reading and writing bundles is in `catalog.bundles`.
Leans on `runs` and `forms`.
"""
