"""What a text of a form looks like, for those who check it before our parsers see it: Prefect's form and editors of YAML.

A shape lets through a little more than its parser, never less. The patterns are those of JSON Schema, the same in Python.
"""

from dataclasses import dataclass
from typing import Any

from pydantic import GetJsonSchemaHandler

from catalog.filters.companions import WORDS
from oci.kinds import KINDS
from oci.reference import NAME_PATTERN

_NAME = NAME_PATTERN.removeprefix("^").removesuffix("$")
_TAG = r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}"
_DIGEST = r"sha(256:[0-9a-f]{64}|512:[0-9a-f]{128})"
_DURATION = r"(0|([0-9]+(\.[0-9]+)?[smhdw])+)"
_DATE = r"[0-9]{4}-[0-9]{2}-[0-9]{2}([T ].*)?"

NAME = NAME_PATTERN
NAME_OR_NOTHING = f"^({_NAME})?$"
TAG = f"^{_TAG}$"
DIGEST = f"^{_DIGEST}$"
DIGEST_OR_NOTHING = f"^({_DIGEST})?$"
CONTENT = f"^{_NAME}(:{_TAG})?(@{_DIGEST})?$"
CONTENT_OR_NOTHING = f"^({_NAME}(:{_TAG})?(@{_DIGEST})?)?$"
TAG_EDIT = f"^{_TAG}=({_TAG}|{_DIGEST})$"
PLATFORM = r"^[^/\s]+/[^/\s]+(/[^/\s]+)?$"
TYPE = f"^!?({'|'.join(dict.fromkeys([*KINDS, *WORDS]))}|.*[/*?[].*)$"
DURATION = rf"^\s*{_DURATION}\s*$"
AGE = rf"^(\s*({_DURATION}|{_DATE})\s*)?$"
SIZE = r"^\s*[0-9]+(\.[0-9]+)?\s*([kKmMgGtT][iI]?)?[bB]?\s*$"
URL_OR_NOTHING = r"^(https?://[^\s@]+)?$"
_HOST = r"((https?|docker)://)?[^/@\s]+"
REMOTE = rf"^{_HOST}(/[a-z0-9._/-]+)?(:{_TAG})?(@{_DIGEST})?$"
"""What does not match is refused before Prefect stores it: a login typed in by mistake is among that."""
REMOTE_OR_PATTERN = rf"^{_HOST}(/[a-z0-9._/*?-]+|/re:\S+)?(:{_TAG})?(@{_DIGEST})?$"
REGISTRY = r"^(https?://)?[^/@\s]+/?$"
TARGET = rf"^{_HOST}(/[a-z0-9._/-]*)?(:{_TAG})?$"
SIGNER = r"^(?!.*pin-value)(?!.*://[^/]*@).+$"
"""A path or a URI; a PIN or a login in it is refused before Prefect stores it."""


@dataclass(frozen=True, slots=True)
class Shape:
    """The pattern of a text, empty for any, and examples; metadata that stands in the field's `Annotated`."""

    pattern: str = ""
    examples: tuple[str, ...] = ()

    def __get_pydantic_json_schema__(self, core: Any, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """Return the field's JSON Schema with the pattern and the examples."""
        found: dict[str, Any] = dict(handler(core))
        if self.pattern:
            found["pattern"] = self.pattern
        if self.examples:
            found["examples"] = list(self.examples)
        return found
