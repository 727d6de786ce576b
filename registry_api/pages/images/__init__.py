"""Pages of one image or artifact: what it is made of, its packages, and where it came from.

What documents say is shown as their authors' claims: read by the right of the version that is looked at, bounded, and escaped.
Leans on `framework`.
"""
