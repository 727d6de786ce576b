"""JSON that can be read in one way only: no key twice in one object. Source: RFC 8259, 4 ("unpredictable" otherwise)."""

import json
from collections.abc import Sequence
from typing import Any

from oci.errors import InvalidInput


class AmbiguousText(InvalidInput):
    """A document that two programs would read differently, or that is no document."""


def load_unique_json(raw: bytes | str, where: str) -> Any:
    """Return a JSON value; raise AmbiguousText for what is no JSON, for a key twice, NaN, or values nested too deep."""

    def unique(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
        made: dict[str, Any] = {}
        for key, value in pairs:
            if key in made:
                raise AmbiguousText(f"{where} has the key {key[:80]!r} twice in one object")
            made[key] = value
        return made

    def refuse(name: str) -> Any:
        raise AmbiguousText(f"{where} holds {name}, which is no JSON number")

    try:
        text = raw.decode("utf-8") if isinstance(raw, bytes) else raw
        return json.loads(text, object_pairs_hook=unique, parse_constant=refuse)
    except AmbiguousText:
        raise
    except (ValueError, RecursionError) as error:
        raise AmbiguousText(f"{where} is no JSON: {str(error)[:200]}") from None
