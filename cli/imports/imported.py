"""What is imported from another tool's list: remotes, syncs by schedule, and every line that has no counterpart here."""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from catalog.units import format_duration, parse_duration
from cli.configuration.document import ConfigDocument, DocumentFault, Place
from oci.errors import EntrepotError
from oci.reference import Reference, registry_name
from oci.remote.address import parse_remote

NIGHTLY = {"cron": "17 3 * * *"}
"""The schedule of lists that have none of their own; it is written inactive."""

_TEMPLATE = re.compile(r"\{\{|\$\{")


@dataclass(slots=True)
class ImportedList:
    """The list of one document, as far as it was read."""

    document: ConfigDocument
    tool: str
    remotes: dict[str, dict[str, Any]] = field(default_factory=dict)
    syncs: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    schedules: dict[str, dict[str, Any]] = field(default_factory=dict)
    unconverted: list[DocumentFault] = field(default_factory=list)
    target: str = ""

    def report(self, place: Sequence[int | str], text: str) -> None:
        """Name a line that has no counterpart, and what to do instead."""
        self.unconverted.append(self.document.fault(place, text))

    def report_unknown_keys(self, place: Place, entry: Mapping[str, Any], known: Collection[str]) -> None:
        """Name every key of an entry that was not read; those without a value mean nothing."""
        for key, value in entry.items():
            if key not in known and value not in (None, "", [], {}, False, 0):
                self.report((*place, key), f"`{key}` has no counterpart here")

    def source(self, place: Place, value: Any) -> Reference | None:
        """Return the reference that a source is; None where it is no registry's, which is told."""
        text = value if isinstance(value, str) else ""
        if _TEMPLATE.search(text):
            self.report(place, "a template has no counterpart here; write the value that it stands for")
        elif text.startswith(("ocidir://", "ocifile://", "http://", "https://", "file:")):
            self.report(place, "this is no registry, and only registries are synced from")
        else:
            try:
                return parse_remote(text.removeprefix("oci://")).reference
            except EntrepotError as error:
                self.report(place, error.message)
        return None

    def target_name(self, place: Place, value: Any) -> str | None:
        """Return the name here for what was copied to a target; the first target's registry is taken for this one."""
        found = self.source(place, value)
        if found is None:
            return None
        self.target = self.target or found.registry
        if found.registry != self.target:
            self.report(place, f"goes to another registry than {self.target}; `entrepot push` copies there")
            return None
        return found.repository

    def add_sync(self, place: Place, schedule: Mapping[str, Any], sync: Mapping[str, Any]) -> None:
        """Take a sync in, if its fields fit the form; tags of one source for one repository become one sync."""
        from pydantic import ValidationError

        from flows.sync_many.request import SyncItem

        fields = {name: value for name, value in sync.items() if name == "companions" or value not in (None, "", [])}
        try:
            SyncItem.model_validate(fields)
        except ValidationError as error:
            faults = error.errors(include_input=False, include_url=False)
            self.report(place, "; ".join(str(one["msg"]).removeprefix("Value error, ") for one in faults))
            return
        key = repr(sorted(schedule.items()))
        self.schedules.setdefault(key, dict(schedule))
        for other in self.syncs.setdefault(key, []):
            if _merges(other, fields):
                other["include"] = list(dict.fromkeys([*other["include"], *fields["include"]]))
                return
        self.syncs[key].append(fields)

    def configuration(self) -> dict[str, Any]:
        """Return the file for `entrepot apply`."""
        deployments = {}
        for number, (key, syncs) in enumerate(self.syncs.items(), 1):
            name = self.tool if number == 1 else f"{self.tool}-{number}"
            deployments[name] = {
                "flow": "sync-many",
                "description": f"Imported from a list of {self.tool}.",
                "schedules": [self.schedules[key]],
                "request": {"syncs": syncs, "defaults": {"on_error": "skip"}},
            }
        value: dict[str, Any] = {"version": 1}
        if self.remotes:
            value["remotes"] = self.remotes
        return {**value, **({"deployments": deployments} if deployments else {})}


def _merges(other: Mapping[str, Any], fields: Mapping[str, Any]) -> bool:
    """Return whether two syncs differ in the tags that they name alone."""
    if "include" not in other or "include" not in fields or "newest" in fields:
        return False
    return {name: value for name, value in other.items() if name != "include"} == {
        name: value for name, value in fields.items() if name != "include"
    }


def remote_of(source: Reference) -> str:
    """Return a repository of a registry as a sync names it."""
    return f"{registry_name(source.registry)}/{source.repository}"


def tag_of(source: Reference) -> str:
    """Return the tag or digest that a source names; as other tools do, `latest` for none."""
    return str(source.digest or source.tag or "latest")


def parse_go_duration(text: Any) -> str | None:
    """Return a duration of Go, `1h30m0s`, as ours; None for what is none."""
    try:
        return format_duration(parse_duration(re.sub(r"(?<!\d)0[smh]", "", str(text)) or "0"))
    except EntrepotError:
        return None


def entries_of(value: Any, key: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the mappings of a list in a document, with their numbers."""
    found = value.get(key) if isinstance(value, dict) else None
    for number, entry in enumerate(found if isinstance(found, list) else []):
        if isinstance(entry, dict):
            yield number, entry


def texts_of(value: Any) -> list[str]:
    """Return a text, or a list of them, as a list."""
    if isinstance(value, str):
        return [value]
    return [str(one) for one in value] if isinstance(value, list) else []
