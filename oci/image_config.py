"""What is read of an image's config: platform, creation, labels."""

import json
from collections.abc import Mapping
from dataclasses import dataclass

from oci import mediatypes


@dataclass(frozen=True, slots=True)
class ImageConfig:
    """The facts of an image's config that the catalogue stores."""

    os: str = ""
    architecture: str = ""
    variant: str = ""
    created: str = ""
    labels: Mapping[str, str] | None = None


MAX_CONFIG = 4 * 1024 * 1024
"""Bytes of a config; one that is larger is not read."""

CONFIGS = frozenset({mediatypes.OCI_CONFIG, mediatypes.DOCKER_CONFIG})
"""Media types of image configs."""


def parse_config(raw: bytes) -> ImageConfig:
    """Read what the catalogue keeps of an image config; a config that is not one leaves the fields empty."""
    try:
        document = json.loads(raw)
    except (ValueError, RecursionError):
        return ImageConfig()
    if not isinstance(document, dict):
        return ImageConfig()
    inner = document.get("config")
    labels = inner.get("Labels") if isinstance(inner, dict) else None
    texts = {name: _text(document.get(name)) for name in ("os", "architecture", "variant", "created")}
    pairs = labels.items() if isinstance(labels, dict) else ()
    return ImageConfig(**texts, labels={key: _text(value) for key, value in pairs})


def _text(value: object) -> str:
    """Return a plain value as text; empty for one that nests."""
    return str(value) if isinstance(value, str | int | float) else ""
