"""State that all processes of an installation must see alike, besides versions and blobs: documents, locks, elections.

Each kind has one interface and two engines: files of the home, or PostgreSQL where the catalogue is there (`shared_state`).
What is kept by them is the business of `access`, `webhooks` and `remotes`.
Leans on `database`.
"""
