"""Holds: content below a path may be pulled only once it has been known for a while, or once somebody has released it.

`rules` are what operators set, `records` keeps them, `judgement` decides; all but `records` is pure.
Leans on `gates`, `lake` and `audit`.
"""
