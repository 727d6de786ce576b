"""Signatures over content: keys, what is signed, and how it is attached."""
