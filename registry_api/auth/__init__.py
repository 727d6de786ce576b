"""Authentication and authorization: the caller of a request, and whether the policy allows it.

Credentials, bearer tokens and OIDC identity tokens become a caller; a refusal becomes a challenge.
The policy itself is in `catalog.access`.
Leans on `http`.
"""
