"""Gates: what of a repository's content may be pulled now, and which earlier content stands in for what may not.

A gate, such as `holds` or `lifecycle`, turns the facts of a repository into verdicts; `selection` and `passing` turn verdicts
into the version that clients are served. Who asks is the business of `registry_api.gates`.
Leans on `filters`, `lake` and `versions`.
"""
