"""A file's entries as items of a plan: the fields that each decides, and its secret where that is at hand."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from catalog.desired_state.entries import CacheEntry, CatalogEntries, DistributionEntry, GroupEntry, RepositoryEntry
from catalog.desired_state.plan import Address, DesiredItem
from catalog.desired_state.present import gate_key
from cli.configuration.apply_context import CurrentState, deployment_key
from cli.configuration.document import Place
from cli.configuration.model import deployments_of, plain_fields
from oci.errors import EntrepotError

if TYPE_CHECKING:
    from pydantic import BaseModel

_HIDDEN: Mapping[str, tuple[str, ...]] = {"users": ("password",), "hooks": ("secret",)}
"""Fields that are secrets to be kept, as opposed to references that are kept themselves."""


@dataclass(frozen=True, slots=True)
class DesiredEntry:
    """One entry of the file: what it is about, where it stands, and the reference and text of its secret, if any.

    `fault` says why the secret cannot be read. `has_path`: the own path of a repository is an entry too, which says who may pull
    before anybody can.
    """

    kind: str
    key: str
    place: Place
    entry: "BaseModel"
    reference: str = ""
    secret: str = ""
    fault: str = ""
    has_path: bool = False

    @property
    def address(self) -> Address:
        """Return kind and key."""
        return self.kind, self.key

    def item(self, seen: CurrentState) -> DesiredItem:
        """Return what the plan compares."""
        return DesiredItem(self.kind, self.key, _fields(self), secret_differs=_differs(self, seen))


def desired_entries_of(entries: CatalogEntries, environment: Mapping[str, str] = os.environ) -> Iterator[DesiredEntry]:
    """Yield every entry of a file; secrets are read here, and nowhere shown."""
    for kind in ("remotes", "distributions", "caches", "users", "access", "trusts", "quotas", "retention", "holds",
                 "policies", "lifecycle", "hooks", "subscriptions"):  # fmt: skip
        for key, entry in getattr(entries, kind).items():
            yield _with_secret(DesiredEntry(kind, _normal_key(kind, key), (kind, key), entry), environment)
    for number, name in enumerate(entries.repositories):
        place = ("repositories", number)
        yield DesiredEntry("repositories", name, place, RepositoryEntry(), has_path=name in entries.distributions)
    for pattern, gates in entries.gates.items():
        for number, gate in enumerate(gates):
            yield DesiredEntry("gates", gate_key(pattern, gate.policy), ("gates", pattern, number), gate)
    for key, members in entries.groups.items():
        yield DesiredEntry("groups", key, ("groups", key), GroupEntry(members=tuple(sorted(set(members)))))
    for name, entry in deployments_of(entries).items():
        yield DesiredEntry("deployments", deployment_key(entry.flow, name), ("deployments", name), entry)


def _normal_key(kind: str, key: str) -> str:
    """Return a key as the catalogue has it; one that it would refuse stays, and is told of later."""
    if kind != "remotes":
        return key
    from catalog.remotes.records import parse_key

    try:
        return parse_key(key)
    except EntrepotError:
        return key


def _with_secret(wanted: DesiredEntry, environment: Mapping[str, str]) -> DesiredEntry:
    (hidden,) = _HIDDEN.get(wanted.kind, ("",))
    reference = getattr(wanted.entry, hidden, None) if hidden else None
    if not reference:
        return wanted
    text, fault = read_reference(reference, environment)
    return replace(wanted, reference=reference, secret=text, fault=fault)


def read_reference(reference: str, environment: Mapping[str, str]) -> tuple[str, str]:
    """Return what a reference names, and why it cannot be read; one of the two is empty."""
    kind, _, name = reference.partition(":")
    if kind == "env":
        text = environment.get(name, "")
        fault = "" if text else f"the variable {name} is not set; set it, or name another reference"
    else:
        try:
            with Path(name).open("rb") as opened:
                text, fault = opened.read(_LARGEST).decode().rstrip("\r\n"), ""
        except OSError as error:
            return "", f"the file {name} cannot be read ({error.strerror}); write it, or name another reference"
        except UnicodeDecodeError:
            return "", f"the file {name} is no text; write the secret into it"
        fault = "" if text else f"the file {name} is empty; write the secret into it"
    if text and (not text.isprintable() or len(text) > _LONGEST):
        return "", f"{reference} holds more than one line of {_LONGEST} printable characters"
    return text, fault


_LARGEST, _LONGEST = 10_000, 1000


def _fields(wanted: DesiredEntry) -> dict[str, Any]:
    """Return what an entry decides: without secrets, and without what it leaves as it is."""
    fields = plain_fields(wanted.entry)
    for hidden in _HIDDEN.get(wanted.kind, ()):
        fields.pop(hidden, None)
    if isinstance(wanted.entry, DistributionEntry):
        fields["repository"] = wanted.entry.repository or wanted.key
        if wanted.entry.history_from is None:
            del fields["history_from"]
    if isinstance(wanted.entry, CacheEntry) and wanted.entry.private is None:
        del fields["private"]
    if wanted.kind == "deployments":
        from flows.schedules.entries import written_request

        fields["request"] = written_request(fields["flow"], getattr(wanted.entry, "request", {}))
    return fields


def _differs(wanted: DesiredEntry, seen: CurrentState) -> bool:
    """Return whether a secret that can be read is another than the one that is kept."""
    if not wanted.secret:
        return False
    if wanted.kind == "users":
        from catalog.access.store import is_password_of

        account = seen.state.policy.accounts.get(wanted.key)
        return account is not None and not is_password_of(account, wanted.secret)
    from catalog.webhooks.administration import kept_secret

    hook = seen.state.events.hooks.get(wanted.key)
    proof = str(getattr(wanted.entry, "proof", ""))
    return hook is not None and hook.secret != kept_secret(wanted.secret, proof)
