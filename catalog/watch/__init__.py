"""What tags of upstreams pointed to when they were last watched, and what has changed since.

`sightings` are what one watch saw, `judgement` compares, both pure; `records` keeps the state and tells each change once.
Leans on `lake`, `audit` and `filters`.
"""
