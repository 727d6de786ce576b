"""Lifecycle: which content has reached its end of life or is deprecated, so that pulls of it are warned or refused.

`rules` are what operators set, `records` keeps them, `published` reads what vendors say, `judgement` decides; pure but for the
two that read.
Leans on `gates`, `filters`, `lake` and `audit`.
"""
