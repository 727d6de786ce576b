"""Logging in on the pages: by a password or token, or at an OpenID Connect issuer.

Both end in the same session, which the framework keeps in a cookie. Who the issuer names is an account by the trusts of CI
tokens.
"""
