"""Manifests of hauler: images, charts and files, each a document. Source: hauler's API types, v1."""

from typing import Any

from cli.configuration.document import ConfigDocument
from cli.imports.imported import NIGHTLY, ImportedList, entries_of, remote_of, tag_of

_VERIFY = (
    "key",
    "certificate-identity",
    "certificate-identity-regexp",
    "certificate-oidc-issuer",
    "certificate-oidc-issuer-regexp",
)
_PREFIX = "hauler.dev/"


def import_hauler(document: ConfigDocument) -> ImportedList:
    """Return what one manifest of hauler says; it has no schedule, so that the deployment's is inactive."""
    made = ImportedList(document, "hauler")
    value = document.value if isinstance(document.value, dict) else {}
    kind, spec = value.get("kind"), value.get("spec")
    spec = spec if isinstance(spec, dict) else {}
    if kind == "Images":
        metadata = value.get("metadata")
        annotations = metadata.get("annotations") if isinstance(metadata, dict) else None
        notes = annotations if isinstance(annotations, dict) else {}
        for number, entry in entries_of(spec, "images"):
            _read_image(made, number, entry, notes)
        for name in notes:
            if name not in {f"{_PREFIX}platform", f"{_PREFIX}registry"} and name.startswith(_PREFIX):
                made.report(("metadata", "annotations", name), f"`{name}` has no counterpart here")
        return made
    parts = [(name, number, entry) for name in spec for number, entry in entries_of(spec, name)]
    for name, number, entry in parts:
        if kind == "Charts" and str(entry.get("repoURL", "")).startswith("oci://"):
            _read_chart(made, (name, number), entry)
            continue
        made.report(("spec", name, number), _hint(str(kind), entry))
    if not parts:
        made.report(("kind",), f"a manifest of kind {kind} has no counterpart here")
    return made


def _hint(kind: str, entry: dict[str, Any]) -> str:
    what = entry.get("name") or entry.get("path") or "it"
    if kind == "Charts":
        return f"charts of HTTP repositories are not synced; push {what} with helm once"
    if kind == "Files":
        return f"files are no content of a registry; push {what} with oras once"
    return f"{what} has no counterpart here"


def _read_chart(made: ImportedList, within: tuple[str, int], entry: dict[str, Any]) -> None:
    """Read a chart of an OCI registry, which is synced as an image is."""
    place = ("spec", *within)
    source = made.source((*place, "repoURL"), f"{str(entry['repoURL']).rstrip('/')}/{entry.get('name', '')}")
    if source is None:
        return
    made.report_unknown_keys(place, entry, {"name", "repoURL", "version"})
    version = entry.get("version")
    sync = {"remote": remote_of(source), "repository": source.repository, "include": [str(version)] if version else []}
    made.add_sync(place, {**NIGHTLY, "active": False}, sync)


def _read_image(made: ImportedList, number: int, entry: dict[str, Any], notes: dict[str, Any]) -> None:
    place = ("spec", "images", number)
    text = str(entry.get("name", ""))
    registry = notes.get(f"{_PREFIX}registry")
    host, slash, _ = text.partition("/")
    if registry and not (slash and (set(".:") & set(host) or host == "localhost")):
        text = f"{registry}/{text}"
    source = made.source((*place, "name"), text)
    if source is None:
        return
    for key in _VERIFY:
        if entry.get(key):
            made.report((*place, key), "a sync verifies nothing; `entrepot promote` lets through what is signed")
    made.report_unknown_keys(place, entry, {"name", "platform", "rewrite", *_VERIFY})
    name = source.repository
    if rewrite := entry.get("rewrite"):
        target = made.source((*place, "rewrite"), f"registry.example/{str(rewrite).lstrip('/')}")
        name = target.repository if target else name
        if target is not None and target.tag and target.tag != source.tag:
            made.report(
                (*place, "rewrite"), f"the tag stays {source.tag} here; `entrepot curate` gives it another name"
            )
    platform = entry.get("platform") or notes.get(f"{_PREFIX}platform")
    sync: dict[str, Any] = {
        "remote": remote_of(source),
        "repository": name,
        "include": [tag_of(source)],
        "platforms": [str(platform)] if platform and platform != "all" else [],
    }
    made.add_sync(place, {**NIGHTLY, "active": False}, sync)
