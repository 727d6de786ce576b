"""The flow `push-repositories`: another registry is made to hold what paths here serve.

`flow` is Prefect's view of `procedure`; `plan` decides, `steps` act, `source` and `target` are the ends of the copy.
Leans on `runs` and `forms`.
"""
