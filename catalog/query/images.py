"""Looking for images by platform, labels and annotations, in all that repositories have ever taken in."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import cast

from catalog.lake.connection import Lake
from oci.digest import Digest

_COLUMNS = "repository, digest, media_type, os, architecture, labels, annotations"


@dataclass(frozen=True, slots=True)
class ImageFilter:
    """What is looked for. A key's value must be one of those given; none given: the key must be there, whatever it says."""

    os: tuple[str, ...] = ()
    architectures: tuple[str, ...] = ()
    labels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    annotations: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ImageRow:
    """An image that a repository has taken in at some time, whether or not its latest version still has it."""

    repository: str
    digest: Digest
    media_type: str
    os: str
    architecture: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]


def find_images(lake: Lake, wanted: ImageFilter) -> list[ImageRow]:
    """Find images, by one query."""
    conditions, values = ["os <> ''"], list[object]()
    for column, some in (("os", wanted.os), ("architecture", wanted.architectures)):
        if some:
            conditions.append(f"list_contains(?::VARCHAR[], {column})")
            values.append(list(some))
    for column, pairs in (("labels", wanted.labels), ("annotations", wanted.annotations)):
        for key, some in pairs.items():
            conditions.append(f"list_contains(map_keys({column}), ?)")
            values.append(key)
            if some:
                conditions.append(f"list_contains(?::VARCHAR[], list_extract(map_extract({column}, ?), 1))")
                values += [list(some), key]
    rows = lake.read(f"SELECT {_COLUMNS} FROM manifests WHERE {' AND '.join(conditions)}", values)
    return [_read_row(row) for row in rows]


def _read_row(row: Sequence[object]) -> ImageRow:
    repository, digest, media_type, system, architecture, labels, annotations = row
    return ImageRow(
        str(repository), Digest(str(digest)), str(media_type), str(system), str(architecture),
        cast("Mapping[str, str]", labels or {}), cast("Mapping[str, str]", annotations or {}),
    )  # fmt: skip
