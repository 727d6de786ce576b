"""What the API's description says of texts beyond what FastAPI knows."""

from typing import Any

_FIT = "^[^\\u0000]*$"
"""Texts without NUL, which databases cannot hold."""


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
