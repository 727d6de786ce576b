"""Lists of regsync (regclient): credentials, defaults and syncs. Source: regsync's documentation of its configuration file."""

from typing import Any

from cli.configuration.document import ConfigDocument, Place
from cli.imports.imported import NIGHTLY, ImportedList, entries_of, parse_go_duration, remote_of, tag_of, texts_of
from oci.errors import EntrepotError
from oci.reference import registry_name

_CREDS = {
    "registry",
    "tls",
    "mirrors",
    "reqConcurrent",
    "user",
    "pass",
    "regcert",
    "clientCert",
    "clientKey",
    "reqPerSec",
}
_DEFAULTS = {"interval", "schedule", "parallel", "digestTags", "referrers", "platform", "platforms"}
_SYNC = {
    "source",
    "target",
    "type",
    "tags",
    "repos",
    "platform",
    "platforms",
    "interval",
    "schedule",
    "digestTags",
    "referrers",
}
_HINTS = {
    "user": "logins are kept in no file of state: write this one into ENTREPOT_LOGINS or an auth.json",
    "pass": "passwords are kept in no file of state: write this one into ENTREPOT_LOGINS or an auth.json",
    "regcert": "write the certificate into a file, and name it by `ca_file` of the remote",
    "clientCert": "write the certificate into a file, and name it by `client_cert` of the remote",
    "clientKey": "write the key into a file, and name it by `client_key` of the remote",
}


def import_regsync(document: ConfigDocument) -> ImportedList:
    """Return what a list of regsync says."""
    made = ImportedList(document, "regsync")
    value = document.value if isinstance(document.value, dict) else {}
    made.report_unknown_keys((), value, {"version", "creds", "defaults", "sync"})
    for number, entry in entries_of(value, "creds"):
        _read_login(made, ("creds", number), entry)
    defaults = value.get("defaults") if isinstance(value.get("defaults"), dict) else {}
    made.report_unknown_keys(("defaults",), defaults or {}, _DEFAULTS)
    for number, entry in entries_of(value, "sync"):
        _read_sync(made, ("sync", number), entry, defaults or {})
    return made


def _read_login(made: ImportedList, place: Place, entry: dict[str, Any]) -> None:
    found = made.source((*place, "registry"), f"{entry.get('registry', '')}/name")
    if found is None:
        return
    for key, hint in _HINTS.items():
        if entry.get(key):
            made.report((*place, key), hint)
    if entry.get("tls") in {"disabled", "insecure"}:
        made.report(
            (*place, "tls"),
            f"name {found.registry} in ENTREPOT_INSECURE_REGISTRIES, or give its authority by `ca_file`",
        )
    remote: dict[str, Any] = {}
    if mirrors := texts_of(entry.get("mirrors")):
        remote["mirrors"] = mirrors
    if isinstance(entry.get("reqConcurrent"), int) and entry["reqConcurrent"] > 0:
        remote["concurrency"] = entry["reqConcurrent"]
    if isinstance(entry.get("reqPerSec"), int | float) and entry["reqPerSec"] > 0:
        remote["rate"] = f"{max(1, round(entry['reqPerSec'] * 60))}/1m"
    if remote:
        from catalog.remotes.records import parse_key

        made.remotes[parse_key(found.registry)] = remote
    made.report_unknown_keys(place, entry, _CREDS)


def _read_sync(made: ImportedList, place: Place, entry: dict[str, Any], defaults: dict[str, Any]) -> None:
    made.report_unknown_keys(place, entry, _SYNC)
    if (schedule := _schedule(made, place, entry, defaults)) is None:
        return
    kind = str(entry.get("type", "image"))
    platforms = texts_of(
        entry.get("platforms") or entry.get("platform") or defaults.get("platforms") or defaults.get("platform")
    )
    sync: dict[str, Any] = {"platforms": [one for one in platforms if one != "local"]}
    if not (entry.get("digestTags", defaults.get("digestTags")) or entry.get("referrers", defaults.get("referrers"))):
        made.report(
            place, "signatures and SBOMs are synced too, as by `referrers: true`; `companions: []` leaves them out"
        )
    if kind == "registry":
        _read_registry(made, place, entry, schedule, sync)
        return
    source = made.source((*place, "source"), entry.get("source"))
    name = made.target_name((*place, "target"), entry.get("target"))
    if source is None or name is None:
        return
    sync |= {"remote": remote_of(source), "repository": name}
    if kind == "image":
        made.add_sync(place, schedule, {**sync, "include": [tag_of(source)]})
        target = made.source((*place, "target"), entry.get("target"))
        if target is not None and source.tag and (target.tag or "latest") != source.tag:
            made.report((*place, "target"), f"the tag stays {source.tag} here; `entrepot curate` gives it another name")
    elif kind == "repository":
        made.add_sync(place, schedule, {**sync, **_tags(entry)})
    else:
        made.report((*place, "type"), "this type has no counterpart here; expected image, repository or registry")


def _tags(entry: dict[str, Any]) -> dict[str, Any]:
    """Return the filter of tags: expressions must fit whole tags in both languages."""
    tags = entry.get("tags")
    tags = tags if isinstance(tags, dict) else {}
    allow = [f"re:{one}" for one in texts_of(tags.get("allow"))]
    return {
        "include": allow + [f"semver:{one}" for one in texts_of(tags.get("semverRange"))],
        "exclude": [f"re:{one}" for one in texts_of(tags.get("deny"))],
    }


def _read_registry(
    made: ImportedList, place: Place, entry: dict[str, Any], schedule: dict[str, Any], sync: dict[str, Any]
) -> None:
    """Read a sync of a whole registry: each expression of names becomes a pattern of paths."""
    found = made.source((*place, "source"), f"{entry.get('source', '')}/name")
    target, _, below = str(entry.get("target", "")).partition("/")
    if found is None or made.target_name((*place, "target"), f"{target}/{below or 'name'}") is None:
        return
    repos = entry.get("repos")
    repos = repos if isinstance(repos, dict) else {}
    if repos.get("deny"):
        made.report((*place, "repos", "deny"), "write these paths into `exclude_paths` of the deployment's request")
    for expression in texts_of(repos.get("allow")) or [""]:
        pattern = f"re:{expression}" if expression else "**"
        try:
            made.add_sync(
                place,
                schedule,
                {**sync, **_tags(entry), "remote": f"{registry_name(found.registry)}/{pattern}", "below": below},
            )
        except EntrepotError as error:
            made.report((*place, "repos", "allow"), error.message)


def _schedule(
    made: ImportedList, place: Place, entry: dict[str, Any], defaults: dict[str, Any]
) -> dict[str, Any] | None:
    """Return when a sync runs, by itself or by default; None for what cannot be read."""
    for where, fields in ((place, entry), (("defaults",), defaults)):
        if fields.get("schedule"):
            return _cron(made, (*where, "schedule"), str(fields["schedule"]))
        if fields.get("interval"):
            if span := parse_go_duration(fields["interval"]):
                return {"every": span}
            made.report((*where, "interval"), "this interval cannot be read; expected such as 60m")
            return None
    return {**NIGHTLY, "active": False}


def _cron(made: ImportedList, place: Place, text: str) -> dict[str, Any] | None:
    from flows.schedules.entries import check_cron

    try:
        check_cron(text)
    except ValueError:
        made.report(place, "this schedule cannot be read; expected five fields of cron")
        return None
    return {"cron": text}
