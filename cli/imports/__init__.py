"""Commands that read what other tools mirror by, and write a configuration for `entrepot apply`.

One module for each tool's list; what of a list has no counterpart here is named with its line. The file that comes out is
checked as `entrepot apply` checks it.
"""
