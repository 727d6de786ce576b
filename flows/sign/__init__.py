"""The flows `sign-content` and `attest-content`, and the verifiers of signatures.

What signing changes in a version is planned in `catalog.signing`.
Leans on `runs` and `forms`.
"""
