"""Gates by trust policies: what they say of one manifest or blob of a path, and reports of what they have refused.

`decisions` asks the policies, `statements` says what no gate keeps back, `reports` sums up audit events,
`logged_times` tells holds of verified times. All but that is called on threads; who caches and who waits is the business of
`registry_api.gates`.
Leans on `policy`, `versions` and `audit`.
"""
