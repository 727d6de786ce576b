"""Pages that change something: each shows its plan first, and does it when the visitor confirms that very plan.

A plan is what the dry run of the command says, and is known by the version it was made on. Once somebody else has committed,
the next plan is shown in its place. The rights are those of the management API and of `/v2`.
No page lives here that only shows. Leans on `pages/framework`, `management` for the commits, `webhooks` for flow runs.
"""
