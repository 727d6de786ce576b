"""How one Entrepôt tells another that an index is here without one of its children, which is not lost but was never taken."""

import re
from collections.abc import Iterable

from oci.digest import Digest

_SAID = re.compile(r"named by the index (?P<index>sha(?:256|512):[0-9a-f]{64,128}), but \S+ was made without it")


def left_out_text(digest: Digest, index: Digest, path: str) -> str:
    """Say it, in the words of every release so far; the answer's Warning carries them."""
    return f"{digest} is named by the index {index}, but {path} was made without it"


def says_left_out(warnings: Iterable[str]) -> bool:
    """Whether the Warning headers of a 404 say it."""
    return any(_SAID.search(text) for text in warnings)
