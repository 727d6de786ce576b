"""The flow `watch-upstream`: tell what has changed in upstream repositories since they were last watched.

What was seen and what of it is news is in `catalog.watch`; here upstreams are asked, by HEADs.
Leans on `runs` and `forms`.
"""
