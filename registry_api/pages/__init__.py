"""Web pages at `/`: the content, where it came from and who has access, for people with a browser.

Each page is a function that returns a view model by one query at most; a diff takes one for each version. The template and the
`.json` beside it render the same model.
Templates are in `templates/`, what browsers load beside them in `static/`.
Leans on `auth`, `http`, `context` and `management`, whose rights it asks.
"""
