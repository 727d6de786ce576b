"""The flow `sync-repository`: tags of an upstream become one new version here.

`flow` is Prefect's view of `procedure`; `plan` decides, `steps` act, `job` holds what a run has found out.
`tag_selection` and `content_selection` apply the filter; `blend` joins several upstreams.
Leans on `runs` and `forms`.
"""
