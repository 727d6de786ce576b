"""Pages of administrators: accounts and rules, queries in SQL, and space.

Whoever is none gets the same answer as for a page that does not exist, or the form to log in. Nothing here changes content.
"""
