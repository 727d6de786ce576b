"""How one Entrepôt tells another that an index is here without one of its children, which is not lost but was never taken."""

import re
from collections.abc import Iterable

from oci.digest import Digest

_DIGEST = r"sha(?:256:[0-9a-f]{64}|512:[0-9a-f]{128})"
_SAID = re.compile(rf"{_DIGEST} is named by the index {_DIGEST}, but [a-z0-9._/-]{{1,255}} was made without it")


def left_out_text(digest: Digest, index: Digest, path: str) -> str:
    """Say it, in the words of every release so far; the answer's Warning carries them."""
    return f"{digest} is named by the index {index}, but {path} was made without it"


def said_left_out(warnings: Iterable[str]) -> str:
    """The same words out of the Warning headers of a 404; empty where they do not say it."""
    matches = (_SAID.search(text) for text in warnings)
    return next((match[0] for match in matches if match), "")
