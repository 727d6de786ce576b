"""The Warning by which an Entrepôt tells another that an index lacks a child on purpose: it is not lost, but was never copied."""

import re
from collections.abc import Iterable

from oci.digest import Digest

_DIGEST = r"sha(?:256:[0-9a-f]{64}|512:[0-9a-f]{128})"
_LEFT_OUT = re.compile(rf"{_DIGEST} is named by the index {_DIGEST}, but [a-z0-9._/-]{{1,255}} was made without it")


def left_out_text(digest: Digest, index: Digest, path: str) -> str:
    """Return the text of the Warning, as every release so far sends it."""
    return f"{digest} is named by the index {index}, but {path} was made without it"


def read_left_out(warnings: Iterable[str]) -> str:
    """Return that text out of the Warning headers of a 404; empty where there is none."""
    matches = (_LEFT_OUT.search(text) for text in warnings)
    return next((match[0] for match in matches if match), "")
