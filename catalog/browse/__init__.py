"""What people look through: versions made last, tags with their platforms; one query for each thing that is looked at.

The caller's rights are applied by who asks: what is given here is given by repository, and some of it may not be shown.
Leans on `audit`, `lake`, `versions` and `pull_counts`.
"""
