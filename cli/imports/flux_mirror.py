"""Lists of flux-mirror (Flux): artifacts, charts and hosts. Source: the JSON Schema of its configuration, v1beta1 and v1beta2."""

from typing import Any

from cli.configuration.document import ConfigDocument, Place
from cli.imports.imported import NIGHTLY, ImportedList, entries_of, remote_of

_HOST = "logins are kept in no file of state: write this one into ENTREPOT_LOGINS or an auth.json"
_TLS = "name its files by `ca_file`, `client_cert` and `client_key` of the remote"


def import_flux_mirror(document: ConfigDocument) -> ImportedList:
    """Return what a list of flux-mirror says; it has no schedule, so that the deployment's is inactive."""
    made = ImportedList(document, "flux-mirror")
    value = document.value if isinstance(document.value, dict) else {}
    made.report_unknown_keys((), value, {"apiVersion", "kind", "artifacts", "charts", "hosts"})
    for number, entry in entries_of(value, "artifacts"):
        _read_artifact(made, ("artifacts", number), entry)
    for number, entry in entries_of(value, "charts"):
        text = f"charts of HTTP repositories are not synced; push {entry.get('name', 'the chart')} with helm once"
        made.report(("charts", number), text)
    for number, entry in entries_of(value, "hosts"):
        for key in entry.keys() - {"host"}:
            made.report(
                ("hosts", number, key), _TLS if key == "tls" else _HOST if key in {"credential", "provider"} else _OTHER
            )
    return made


_OTHER = "this has no counterpart here"


def _read_artifact(made: ImportedList, place: Place, entry: dict[str, Any]) -> None:
    source = made.source((*place, "source"), entry.get("source"))
    name = made.target_name((*place, "destination"), entry.get("destination"))
    if source is None or name is None:
        return
    made.report_unknown_keys(
        place, entry, {"source", "destination", "selector", "includeReferrers", "overwrite", "verify"}
    )
    if entry.get("verify"):
        made.report((*place, "verify"), "a sync verifies nothing; `entrepot promote` lets through what is signed")
    if entry.get("overwrite") is False:
        made.report(
            (*place, "overwrite"), "tags that move upstream move here; `immutable_tags` of a path binds clients alone"
        )
    sync: dict[str, Any] = {"remote": remote_of(source), "repository": name}
    if not entry.get("includeReferrers"):
        sync["companions"] = []
    selector = entry.get("selector")
    sync |= _selected(made, (*place, "selector"), selector if isinstance(selector, dict) else {})
    made.add_sync(place, {**NIGHTLY, "active": False}, sync)


def _selected(made: ImportedList, place: Place, selector: dict[str, Any]) -> dict[str, Any]:
    """Return the filter of tags. An expression may fit a part of a tag there, and fits whole tags here."""
    made.report_unknown_keys(place, selector, {"regex", "semver", "limit", "sortBy"})
    regex = selector.get("regex")
    regex = regex if isinstance(regex, dict) else {}
    if regex.get("extract"):
        made.report((*place, "regex", "extract"), "versions are read of whole tags; no part of one is extracted")
    include = []
    if semver := selector.get("semver"):
        include = [f"semver:{semver}"]
        if regex.get("pattern"):
            made.report((*place, "regex"), "a tag is included by its version alone; an expression does not narrow that")
    elif pattern := regex.get("pattern"):
        include = [f"re:{_whole(str(pattern))}"]
    sort = selector.get("sortBy")
    limit = selector.get("limit")
    if limit and sort not in (None, "semver"):
        made.report(
            (*place, "sortBy"), f"the newest are chosen by version, not by {sort} order; name the tags by `include`"
        )
        limit = None
    return {"include": include, "newest": limit or None}


def _whole(pattern: str) -> str:
    """Return an expression that fits a whole tag where the one given fits a part of it."""
    if "|" in pattern or not pattern.startswith("^"):
        return f".*(?:{pattern}).*"
    return pattern[1:-1] if pattern.endswith("$") and not pattern.endswith("\\$") else f"{pattern[1:]}.*"
