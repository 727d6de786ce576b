"""Statements of provenance: what somebody claims about a build. Nothing here is verified.

Source: in-toto Statement v0.1 and v1; SLSA provenance v0.1, v0.2 and v1.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

from catalog.documents.reading import unwrap
from oci.digest import Digest

MOST_MATERIALS = 200
_MOST_SUBJECTS = 1000
_LONGEST = 1000
_SLSA = "https://slsa.dev/provenance/"


@dataclass(frozen=True, slots=True)
class ClaimedMaterial:
    """Something that is claimed to have gone into a build; `digest` as `ALGORITHM:HEX`, empty where none is told."""

    uri: str
    digest: str


@dataclass(frozen=True, slots=True)
class ProvenanceStatement:
    """What a statement of provenance claims; texts are the author's, cut where they are long, empty where they say nothing.

    `is_about`: it names the image as its subject. `signatures` counts those of its envelope, which are not verified.
    """

    predicate_type: str
    is_about: bool
    signatures: int
    builder: str
    build_type: str
    source: str
    source_digest: str
    entry_point: str
    invocation: str
    started: str
    finished: str
    materials: tuple[ClaimedMaterial, ...]
    total_materials: int


def provenance_in(document: object, digest: Digest) -> ProvenanceStatement | None:
    """Return what a parsed document claims about how an image was built; None for one that is no provenance. Pure."""
    statement, signatures = unwrap(document)
    if not isinstance(statement, dict):
        return None
    kind, predicate = statement.get("predicateType"), statement.get("predicate")
    if not isinstance(kind, str) or not kind.startswith(_SLSA) or not isinstance(predicate, dict):
        return None
    builder, build_type, entry_point, metadata, found = (
        _read_v1(predicate) if "buildDefinition" in predicate else _read_v0(predicate)
    )
    materials = [material for one in found if (material := _material(one)) is not None]
    source = _source(predicate) or next((one for one in materials if one.uri.startswith("git+")), None)
    return ProvenanceStatement(
        predicate_type=_text(kind),
        is_about=_is_about(statement.get("subject"), digest),
        signatures=signatures,
        builder=_text(builder),
        build_type=_text(build_type),
        source=source.uri if source else "",
        source_digest=source.digest if source else "",
        entry_point=_text(entry_point),
        invocation=_text(_first(metadata, "invocationId", "buildInvocationId", "buildInvocationID")),
        started=_text(_first(metadata, "startedOn", "buildStartedOn")),
        finished=_text(_first(metadata, "finishedOn", "buildFinishedOn")),
        materials=tuple(materials[:MOST_MATERIALS]),
        total_materials=len(materials),
    )


def _read_v1(predicate: Mapping[str, Any]) -> tuple[object, object, object, object, Iterator[object]]:
    definition, details = _map(predicate.get("buildDefinition")), _map(predicate.get("runDetails"))
    parameters = _map(definition.get("externalParameters"))
    entry_point = _map(parameters.get("workflow")).get("path") or _map(parameters.get("configSource")).get("path")
    return (
        _map(details.get("builder")).get("id"),
        definition.get("buildType"),
        entry_point,
        details.get("metadata"),
        _items(definition.get("resolvedDependencies")),
    )


def _read_v0(predicate: Mapping[str, Any]) -> tuple[object, object, object, object, Iterator[object]]:
    recipe = _map(predicate.get("recipe"))
    config = _map(_map(predicate.get("invocation")).get("configSource"))
    return (
        _map(predicate.get("builder")).get("id"),
        predicate.get("buildType") or recipe.get("type"),
        config.get("entryPoint") or recipe.get("entryPoint"),
        predicate.get("metadata"),
        _items(predicate.get("materials")),
    )


def _source(predicate: Mapping[str, Any]) -> ClaimedMaterial | None:
    """Return where the predicate says that its build was configured or its code was; the materials may tell, too."""
    parameters = _map(_map(predicate.get("buildDefinition")).get("externalParameters"))
    workflow = _map(parameters.get("workflow"))
    if workflow.get("repository"):
        at = f"@{workflow['ref']}" if workflow.get("ref") else ""
        return ClaimedMaterial(_text(f"{workflow['repository']}{at}"), "")
    configured = _map(predicate.get("invocation")).get("configSource")
    for one in (parameters.get("source"), parameters.get("configSource"), configured):
        found = _material({"uri": one} if isinstance(one, str) else one)
        if found is not None and found.uri:
            return found
    return None


def _material(value: object) -> ClaimedMaterial | None:
    found = _map(value)
    uri = _text(found.get("uri") or found.get("name"))
    digests = _map(found.get("digest"))
    name = next(iter(digests), "")
    digest = _text(f"{name}:{digests[name]}") if name and isinstance(digests[name], str) else ""
    return ClaimedMaterial(uri, digest) if uri or digest else None


def _is_about(subjects: object, digest: Digest) -> bool:
    return any(
        _map(_map(one).get("digest")).get(digest.algorithm) == digest.encoded
        for one in islice(_items(subjects), _MOST_SUBJECTS)
    )


def _items(value: object) -> Iterator[object]:
    return iter(value) if isinstance(value, list) else iter(())


def _map(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _first(value: object, *names: str) -> object:
    found = _map(value)
    return next((found[name] for name in names if found.get(name)), "")


def _text(value: object) -> str:
    """Return a text for a single line; empty for what is no text or number."""
    if not isinstance(value, str | int | float):
        return ""
    return "".join(one if one.isprintable() else "\N{REPLACEMENT CHARACTER}" for one in str(value)[:_LONGEST])
