"""The flow `push-repositories`: another registry is made to hold what paths here serve.

Four stages for each path, each a frozen value made of the one before: `selection`, `comparison`, `copying`, `tagging`.
`procedure` runs them over a `context`; `flow` is Prefect's view of it; `plan` decides. `source` and `target` are the ends of the
copy. Leans on `runs` and `forms`.
"""
