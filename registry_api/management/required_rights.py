"""The right that each operation of the HTTP API needs, in words for its description; a test asks each without it."""

from collections.abc import Mapping, Sequence
from typing import Any

ADMINISTRATOR = "administrator"
NONE = "none"
_PULL, _ADMIN = "pull on the repository", "admin on the repository"
_OF_PATH = "pull on the path"
_LISTED = "none; lists what the caller may pull"

_OF_TAGS: Mapping[str, str] = {
    "administration": ADMINISTRATOR,
    "remotes": ADMINISTRATOR,
    "events": ADMINISTRATOR,
    "questions": ADMINISTRATOR,
    "token": "none; a token holds the rights of its login",
    "health": NONE,
    "index": _LISTED,
    "metrics": "administrator, or the token of the settings",
}
_OF_OPERATIONS: Mapping[tuple[str, str], str] = {
    ("get", "/api/v1/repositories"): _LISTED,
    ("get", "/api/v1/distributions"): _LISTED,
    ("get", "/api/v1/repositories/{name}"): _PULL,
    ("get", "/api/v1/versions/{name}"): _PULL,
    ("get", "/api/v1/tags/{name}"): _PULL,
    ("get", "/api/v1/version/{number}/{name}"): _PULL,
    ("get", "/api/v1/diff"): "pull on both repositories",
    ("get", "/api/v1/pins/{name}"): _PULL,
    ("get", "/api/v1/verify"): _PULL,
    ("get", "/api/v1/sboms"): _OF_PATH,
    ("get", "/api/v1/sboms/packages"): _OF_PATH,
    ("get", "/api/v1/sboms/search"): _LISTED,
    ("post", "/api/v1/restore/{name}"): "push and delete on the repository",
    ("put", "/api/v1/pins/{number}/{name}"): _ADMIN,
    ("delete", "/api/v1/pins/{number}/{name}"): _ADMIN,
    ("delete", "/api/v1/versions/{name}"): _ADMIN,
    ("delete", "/api/v1/repositories/{name}"): _ADMIN,
    ("put", "/api/v1/distributions/{path}"): "admin on the path, pull on the repository",
    ("delete", "/api/v1/distributions/{path}"): "admin on the path",
}
RIGHT = "x-required-right"
"""The extension of an operation's description that says the right."""


def right_of(method: str, path: str, tags: Sequence[str]) -> str:
    """Return the right that an operation needs; empty for one that nobody has described. Pure."""
    own = _OF_OPERATIONS.get((method, path))
    return own or next((_OF_TAGS[tag] for tag in tags if tag in _OF_TAGS), "")


def describe_rights(document: dict[str, Any]) -> None:
    """Say of each operation of an OpenAPI document which right it needs; change it in place."""
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            operation[RIGHT] = right_of(method, path, operation.get("tags", ()))
