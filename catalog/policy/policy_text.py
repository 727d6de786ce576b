"""The text of a policy document, in JSON or YAML, read strictly and within bounds."""

from typing import Any

from catalog.policy.strict_json import AmbiguousText, load_unique_json

MAX_POLICY = 256 * 1024
"""Bytes of the longest policy document."""


def load_policy_text(raw: bytes, where: str) -> dict[str, Any]:
    """Return the object of a policy document in JSON or YAML; raise AmbiguousText."""
    if len(raw) > MAX_POLICY:
        raise AmbiguousText(f"{where} has {len(raw)} bytes; a policy has {MAX_POLICY} at most")
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise AmbiguousText(f"{where} is not UTF-8: {error.reason} at byte {error.start}") from None
    if text.lstrip().startswith("{"):
        document = load_unique_json(text, where)
    else:
        from catalog.policy.strict_yaml import load_unique_yaml  # JSON needs no parser of YAML

        document = load_unique_yaml(text, where)
    if not isinstance(document, dict):
        raise AmbiguousText(f"{where} is no policy: expected an object")
    return document
