"""Authorization at other registries: challenges, tokens, and where logins come from.

Reads the login files of podman and docker, answers WWW-Authenticate, and keeps tokens by scope.
Who may use this registry is decided in `catalog.access`, not here.
"""
