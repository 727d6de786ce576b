"""The documentation of the HTTP API as a page, made from its OpenAPI document; it needs no script.

`operations` and `schemas` read the document, `page` shows it. Nothing of another host is loaded.
Leans on `framework`, and on `management`, which makes the document.
"""
