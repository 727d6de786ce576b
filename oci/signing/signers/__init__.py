"""Signers by address: a key file, the environment, a token, a key service, gpg's agent, or a command.

`addresses` reads what names a signer; `loading` opens it. A signer outside of this process answers in bounded time,
and each of its signatures is checked with its public key before it is used.
Leans on `signing`.
"""
