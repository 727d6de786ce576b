"""What people look through: versions made last, tags with their platforms, search; one query for each thing that is looked at.

The caller's rights are applied by who asks: what is given here is given by repository, and some of it may not be shown.
Leans on `lake`, `versions` and `pull_counts`.
"""
