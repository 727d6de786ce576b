"""What all pages share: visits with their sessions and rights, responses, templates and how they write values.

`visits` is the way of a request from its caller to its rendering. No page lives here.
"""
