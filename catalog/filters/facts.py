"""What the conditions of a filter look at in a manifest: type, labels, annotations, creation, signature.

The same facts come from two places: from the catalogue (catalog/versions/manifest_facts.py) and from an upstream
(flows/sync/facts.py).

- `created` is what the image config says, else the annotation `org.opencontainers.image.created`; of an index, its own
  annotation, else the newest of its children. The zero times of Go and of Unix stand for "not said", as reproducible
  builds mean them.
- An index has its children's labels, annotations and types besides its own. Attestations within an index are none of its
  children here.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from fnmatch import fnmatchcase

from catalog.filters.companions import WORDS
from oci.digest import Digest
from oci.kinds import COSIGN_SIGNATURE, SIGSTORE_BUNDLE

CREATED = "org.opencontainers.image.created"
_SIGNATURE_TYPES = tuple(glob for glob in WORDS["signature"] if not glob.startswith(SIGSTORE_BUNDLE))
_NOT_SAID = frozenset({datetime(1, 1, 1, tzinfo=UTC), datetime(1970, 1, 1, tzinfo=UTC)})

Values = Mapping[str, frozenset[str]]
"""Texts by key: of a manifest one for each, of an index those of all its children."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of one manifest. `kind` is a word of oci/kinds.py; `types` are all kinds and artifact types by which a
    condition finds it; `created` is None where nothing says it."""

    digest: Digest
    kind: str
    artifact_type: str = ""
    created: datetime | None = None
    labels: Values = field(default_factory=dict, hash=False)
    annotations: Values = field(default_factory=dict, hash=False)
    signed: bool = False
    types: frozenset[str] = frozenset()


def facts_of(
    digest: Digest,
    *,
    kind: str,
    artifact_type: str = "",
    created: str = "",
    labels: Mapping[str, str] | None = None,
    annotations: Mapping[str, str] | None = None,
    signed: bool = False,
) -> Facts:
    """Return the facts of a manifest alone: `created` and, without an artifact type, the media type are those of its config."""
    annotations = annotations or {}
    return Facts(
        digest,
        kind,
        artifact_type,
        parse_created(created) or parse_created(annotations.get(CREATED, "")),
        _one_each(labels or {}),
        _one_each(annotations),
        signed=signed,
        types=frozenset({kind, artifact_type} - {""}),
    )


def with_children(index: Facts, children: Iterable[Facts]) -> Facts:
    """Return the facts of an index, given those of its children."""
    some = list(children)
    return replace(
        index,
        created=index.created or max((one.created for one in some if one.created), default=None),
        labels=_merged([index.labels, *(one.labels for one in some)]),
        annotations=_merged([index.annotations, *(one.annotations for one in some)]),
        types=index.types.union(*(one.types for one in some)),
    )


def is_attestation(platform: str) -> bool:
    """Return whether a child of an index attests another, by the platform of its descriptor: `unknown/unknown`."""
    return platform.startswith("unknown/")


def is_signature(kind: str, artifact_type: str) -> bool:
    """Return whether a referrer of a manifest is a signature."""
    return kind == COSIGN_SIGNATURE or any(fnmatchcase(artifact_type, glob) for glob in _SIGNATURE_TYPES)


def parse_created(text: str) -> datetime | None:
    """Read a time as RFC 3339 writes it, in UTC where no zone is named; None for what is no time, or stands for none."""
    try:
        found = datetime.fromisoformat(text)
        found = found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return None
    return None if found in _NOT_SAID else found


def _one_each(pairs: Mapping[str, str]) -> Values:
    return {key: frozenset({value}) for key, value in pairs.items()}


def _merged(some: Iterable[Values]) -> Values:
    merged: dict[str, frozenset[str]] = {}
    for values in some:
        for key, found in values.items():
            merged[key] = merged.get(key, frozenset()) | found
    return merged
