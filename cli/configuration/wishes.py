"""A file's entries as items of a plan: the fields that each decides, and its secret where that is at hand."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from catalog.wished_state.entries import CacheEntry, CatalogEntries, DistributionEntry, GroupEntry, RepositoryEntry
from catalog.wished_state.plan import Address, WishedItem
from cli.configuration.document import Place
from cli.configuration.model import deployments_of, plain_fields
from cli.configuration.world import Seen, deployment_key
from oci.errors import EntrepotError

if TYPE_CHECKING:
    from pydantic import BaseModel

_HIDDEN: Mapping[str, tuple[str, ...]] = {"users": ("password",), "hooks": ("secret",)}
"""Fields that are secrets to be kept, as opposed to references that are kept themselves."""


@dataclass(frozen=True, slots=True)
class Wish:
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

    def item(self, seen: Seen) -> WishedItem:
        """Return what the plan compares."""
        return WishedItem(self.kind, self.key, _fields(self), secret_differs=_differs(self, seen))


def wishes_of(entries: CatalogEntries, environment: Mapping[str, str] = os.environ) -> Iterator[Wish]:
    """Yield every entry of a file; secrets are read here, and nowhere shown."""
    for kind in ("remotes", "distributions", "caches", "users", "access", "trusts", "quotas", "retention", "hooks",
                 "subscriptions"):  # fmt: skip
        for key, entry in getattr(entries, kind).items():
            yield _with_secret(Wish(kind, _normal_key(kind, key), (kind, key), entry), environment)
    for number, name in enumerate(entries.repositories):
        place = ("repositories", number)
        yield Wish("repositories", name, place, RepositoryEntry(), has_path=name in entries.distributions)
    for key, members in entries.groups.items():
        yield Wish("groups", key, ("groups", key), GroupEntry(members=tuple(sorted(set(members)))))
    for name, entry in deployments_of(entries).items():
        yield Wish("deployments", deployment_key(entry.flow, name), ("deployments", name), entry)


def _normal_key(kind: str, key: str) -> str:
    """Return a key as the catalogue has it; one that it would refuse stays, and is told of later."""
    if kind != "remotes":
        return key
    from catalog.remotes.records import parse_key

    try:
        return parse_key(key)
    except EntrepotError:
        return key


def _with_secret(wish: Wish, environment: Mapping[str, str]) -> Wish:
    (hidden,) = _HIDDEN.get(wish.kind, ("",))
    reference = getattr(wish.entry, hidden, None) if hidden else None
    if not reference:
        return wish
    text, fault = read_reference(reference, environment)
    return replace(wish, reference=reference, secret=text, fault=fault)


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


def _fields(wish: Wish) -> dict[str, Any]:
    """Return what an entry decides: without secrets, and without what it leaves as it is."""
    fields = plain_fields(wish.entry)
    for hidden in _HIDDEN.get(wish.kind, ()):
        fields.pop(hidden, None)
    if isinstance(wish.entry, DistributionEntry):
        fields["repository"] = wish.entry.repository or wish.key
        if wish.entry.history_from is None:
            del fields["history_from"]
    if isinstance(wish.entry, CacheEntry) and wish.entry.private is None:
        del fields["private"]
    if wish.kind == "deployments":
        from flows.schedules.entries import written_request

        fields["request"] = written_request(fields["flow"], getattr(wish.entry, "request", {}))
    return fields


def _differs(wish: Wish, seen: Seen) -> bool:
    """Return whether a secret that can be read is another than the one that is kept."""
    if not wish.secret:
        return False
    if wish.kind == "users":
        from catalog.access.store import is_password_of

        account = seen.state.policy.accounts.get(wish.key)
        return account is not None and not is_password_of(account, wish.secret)
    from catalog.webhooks.administration import kept_secret

    hook = seen.state.events.hooks.get(wish.key)
    proof = str(getattr(wish.entry, "proof", ""))
    return hook is not None and hook.secret != kept_secret(wish.secret, proof)
