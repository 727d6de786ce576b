"""Manifests that clients read differently: refused when they are ingested; those stored already stay readable.

Go's JSON takes keys in any case, the last of two that are the same, and puts U+FFFD for what is no Unicode; others take the first
key, know no case, or stop. A manifest that is one image to whoever checks it and another to whoever runs it is an attack, or
soon will be. Source: RFC 8259, 4 ("unpredictable"), 8.1 (no byte order mark) and 6 (numbers up to 2**53 - 1); RFC 6838, 4.2.
"""

import json
from collections.abc import Callable, Mapping, Sequence

from oci import mediatypes
from oci.digest import Digest
from oci.errors import ManifestInvalid
from oci.manifest import Manifest
from oci.unicode import fit_text

MAX_SIZE = 2**53 - 1
"""The largest size of a part: what all clients read as the same number."""

MAX_NESTED = 16
"""How deep indexes may nest, as deep as any copy goes, and how deep a manifest's JSON may."""

MAX_TYPE = 255
"""Characters of a media type or artifact type: two names of 127 and a slash."""

_PLATFORM = frozenset({"architecture", "os", "os.version", "os.features", "variant", "features"})
_DESCRIPTOR = frozenset({"mediaType", "digest", "size", "urls", "annotations", "data", "platform", "artifactType"})
_MANIFEST = frozenset(
    {"schemaVersion", "mediaType", "artifactType", "config", "layers", "manifests", "subject", "annotations"}
    | {"name", "tag", "architecture", "fsLayers", "history", "signatures"}
)


def check_unambiguous(raw: bytes) -> None:
    """Raise ManifestInvalid for a manifest that not all clients read the same, and say what it is."""
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ManifestInvalid(f"manifest is not UTF-8: {error.reason} at byte {error.start}") from None
    if text.startswith("\ufeff"):
        raise ManifestInvalid("manifest begins with a byte order mark; send it without")
    try:
        document = json.loads(text, object_pairs_hook=_unique, parse_constant=_refuse_constant)
    except ManifestInvalid:
        raise
    except (ValueError, RecursionError) as error:
        raise ManifestInvalid(f"manifest is not JSON: {error}") from error
    _check_depth(document)
    if isinstance(document, dict):
        _check_manifest(document)


def check_children(
    manifest: Manifest, known: Callable[[Digest], tuple[str, int] | None], *, may_misstate: bool = False
) -> None:
    """Raise ManifestInvalid when an index misstates a manifest that is held: `known` gives its media type and size.

    With `may_misstate` the size is not looked at.

    A client that checks sizes cannot pull such an image; one that does not takes what another refuses.
    """
    for child in manifest.manifests:
        found = known(child.digest)
        if found is None:
            continue
        media_type, size = found
        if child.size != size and not may_misstate:
            raise ManifestInvalid(f"the index says {child.digest} has {child.size} bytes; it has {size}")
        if child.media_type in mediatypes.MANIFESTS and child.media_type != media_type:
            raise ManifestInvalid(f"the index says {child.digest} is {child.media_type}; it is {media_type}")


def check_nesting(index: Manifest, read: Callable[[Digest, str], Manifest | None]) -> None:
    """Raise ManifestInvalid when indexes nest deeper than MAX_NESTED below this one; `read` gives those that are held."""
    level, known = {index.digest: index}, dict[Digest, Manifest]()
    for _ in range(MAX_NESTED):
        below: dict[Digest, Manifest] = {}
        for parent in level.values():
            for child in parent.manifests:
                if child.media_type not in mediatypes.INDEXES or child.digest in below:
                    continue
                found = known.get(child.digest) or read(child.digest, child.media_type)
                if found is not None:
                    below[child.digest] = known[child.digest] = found
        if not below:
            return
        level = below
    raise ManifestInvalid(f"{index.digest} nests indexes deeper than {MAX_NESTED}")


def _unique(pairs: Sequence[tuple[str, object]]) -> dict[str, object]:
    """Return an object's members; text that is not Unicode counts as U+FFFD, as clients read it."""
    made: dict[str, object] = {}
    for key, value in pairs:
        read = fit_text(key)
        if read in made:
            raise ManifestInvalid(f"manifest has key {read[:100]!r} twice in one object")
        made[read] = value
    return made


def _refuse_constant(name: str) -> object:
    raise ManifestInvalid(f"manifest holds {name}, which is no JSON number")


def _check_depth(document: object) -> None:
    level = [document]
    for _ in range(MAX_NESTED):
        level = [
            inner
            for value in level
            if isinstance(value, dict | list)
            for inner in (value.values() if isinstance(value, dict) else value)
        ]
        if not level:
            return
    if any(isinstance(value, dict | list) for value in level):
        raise ManifestInvalid(f"manifest nests values deeper than {MAX_NESTED}")


def _check_manifest(document: Mapping[str, object]) -> None:
    _check_keys(document, _MANIFEST, "manifest")
    _check_types(document, "manifest")
    for name in ("config", "subject"):
        _check_descriptor(document.get(name), name)
    for name in ("layers", "manifests"):
        parts = document.get(name)
        for number, part in enumerate(parts if isinstance(parts, list) else ()):
            _check_descriptor(part, f"{name}[{number}]")


def _check_descriptor(value: object, where: str) -> None:
    if not isinstance(value, dict):
        return
    _check_keys(value, _DESCRIPTOR, where)
    _check_types(value, where)
    size = value.get("size")
    if isinstance(size, int) and size > MAX_SIZE:
        raise ManifestInvalid(f"{where}: a size of {size} bytes; {MAX_SIZE} at most")
    platform = value.get("platform")
    if isinstance(platform, dict):
        _check_keys(platform, _PLATFORM, f"{where}.platform")


def _check_keys(value: Mapping[str, object], fields: frozenset[str], where: str) -> None:
    """Go's JSON folds case by Unicode: the long s is an s."""
    folded = {name.casefold(): name for name in fields}
    for key in value.keys() - fields:
        if key.casefold() in folded:
            raise ManifestInvalid(f"{where} has key {key!r}, which some clients read as {folded[key.casefold()]!r}")


def _check_types(value: Mapping[str, object], where: str) -> None:
    for name in ("mediaType", "artifactType"):
        text = value.get(name)
        if isinstance(text, str) and len(text) > MAX_TYPE:
            raise ManifestInvalid(f"{where}: {name} has {len(text)} characters; {MAX_TYPE} at most")
