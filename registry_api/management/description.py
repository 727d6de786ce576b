"""The API's description: the OpenAPI document of FastAPI, with what it does not know of texts and rights."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from fastapi import FastAPI

from registry_api.management.required_rights import describe_rights

_FIT = "^[^\\u0000]*$"
"""Texts without NUL, which databases cannot hold."""


@lru_cache(maxsize=1)
def describe_api(app: FastAPI) -> Mapping[str, Any]:
    """Return the OpenAPI document; cached, since making it takes longer than many pulls."""
    document = app.openapi()
    restrict_texts(document)
    describe_rights(document)
    return document


def restrict_texts(part: Any) -> None:
    """Say of each text in an OpenAPI document, and of each name in an object, that it holds no NUL; change it in place."""
    if isinstance(part, list):
        for one in part:
            restrict_texts(one)
    elif isinstance(part, dict):
        is_free = part.get("format", "password") == "password" and not part.keys() & {"pattern", "enum", "const"}
        if part.get("type") == "string" and is_free:
            part["pattern"] = _FIT
        if part.get("type") == "object" and "additionalProperties" in part:
            part.setdefault("propertyNames", {"pattern": _FIT})
        for one in part.values():
            restrict_texts(one)
