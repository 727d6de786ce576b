"""A proposal of users, groups and rules, made of who may do what at another product: pure, but for the writing of its file.

It is a file for `entrepot apply` that a person reads first: names there need not be the same people here.
"""

import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path

import yaml  # type: ignore[import-untyped]  # it carries no types

from catalog.access.policy import parse_account
from catalog.access.store import ADMINISTRATOR
from oci.errors import InvalidInput, LocalError, NameInvalid
from oci.remote.discovery.foreign_access import ForeignAccess, ForeignRole, SubjectKind

_HEADER = """# Proposed by `entrepot migrate` from {source}. Nothing of it is applied.
# 1. Check that each name is the person you mean, and remove what you do not want.
# 2. Set the variables of the passwords, or remove users who log in by an issuer.
# 3. Look at the plan: entrepot apply {file} --dry-run
# 4. Apply it: entrepot apply {file}. Make tokens for robots: entrepot token add NAME
"""


@dataclass(frozen=True, slots=True)
class AccessProposal:
    """The content of the file, and what has no counterpart, each a sentence."""

    document: Mapping[str, object]
    not_taken: tuple[str, ...] = ()

    def summary(self, file: Path) -> str:
        """Return in words what it proposes."""
        counts = [f"{len(_section(self.document, name))} {name}" for name in ("users", "groups", "access")]
        return f"access: {counts[0]}, {counts[1]} and {counts[2].removesuffix(' access')} rules are proposed in {file}"


@dataclass(slots=True)
class _Names:
    """The names of accounts and groups here, each for one subject there."""

    given: dict[tuple[SubjectKind, str], str] = field(default_factory=dict)
    not_taken: list[str] = field(default_factory=list)

    def of(self, kind: SubjectKind, name: str) -> str:
        """Return the name of a subject here; empty where it can have none."""
        found = self.given.get((kind, name))
        if found is None:
            found = self.given[(kind, name)] = self._make(kind, name)
        return found

    def _make(self, kind: SubjectKind, name: str) -> str:
        text = name.removeprefix("robot$") if kind == "robot" else name
        try:
            made = parse_account(re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-"))
        except InvalidInput:
            self.not_taken.append(f"{kind} {name}: its name cannot be written here")
            return ""
        if made == ADMINISTRATOR and kind != "group":
            self.not_taken.append(f"{kind} {name}: {ADMINISTRATOR} is the administrator here")
            return ""
        other = next((key for key, taken in self.given.items() if taken == made and _clash(key[0], kind)), None)
        if other is not None:
            self.not_taken.append(f"{kind} {name}: it would be {made} here, and so is {other[0]} {other[1]}")
            return ""
        return made


def _clash(one: SubjectKind, other: SubjectKind) -> bool:
    """Return whether two kinds of subjects share their names: users and robots do."""
    return (one == "group") == (other == "group")


def propose_access(found: ForeignAccess, target: Callable[[str], str], paths: Iterable[str]) -> AccessProposal:
    """Return the proposal for the repositories that are migrated, by their paths there; `target` gives their names here."""
    names, selected = _Names(), set(paths)
    projects = {above for path in selected for above in accumulate(path.split("/"), "{}/{}".format)}
    rules: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for role in found.roles:
        if role.repository not in selected if role.repository else role.project not in projects:
            continue
        name = names.of(role.kind, role.name)
        pattern = _pattern(role, target)
        if name and pattern:
            subjects = rules.setdefault((pattern, tuple(role.actions)), [])
            subject = f"{role.kind}:{name}"
            if subject not in subjects:
                subjects.append(subject)
        elif name:
            names.not_taken.append(f"{role.role} of {role.name}: {role.project} has no name here")
    groups = {
        made: [named for kind, member in found.groups.get(name, ()) if (named := names.of(kind, member))]
        for (kind_of, name), made in list(names.given.items())
        if kind_of == "group" and made
    }
    users = {
        name: {"robot": True} if kind == "robot" else {"password": f"env:{password_variable(name)}"}
        for (kind, _there), name in names.given.items()
        if name and kind != "group"
    }
    document: dict[str, object] = {"version": 1, "users": dict(sorted(users.items())), "groups": groups}
    document["access"] = {
        rule_id: {"subjects": sorted(subjects), "actions": list(actions), "paths": [pattern]}
        for rule_id, ((pattern, actions), subjects) in _with_ids(sorted(rules.items()))
    }
    return AccessProposal(document, tuple(names.not_taken))


def _pattern(role: ForeignRole, target: Callable[[str], str]) -> str:
    try:
        return target(role.repository) if role.repository else f"{target(role.project)}/**"
    except NameInvalid:
        return ""


def _with_ids(
    rules: Iterable[tuple[tuple[str, tuple[str, ...]], list[str]]],
) -> Iterable[tuple[str, tuple[tuple[str, tuple[str, ...]], list[str]]]]:
    """Yield rules with ids of their own that say what they allow."""
    taken: set[str] = set()
    for rule in rules:
        (pattern, actions), _subjects = rule
        words = re.sub(r"[^a-z0-9]+", "-", pattern).strip("-")[:50].rstrip("-")
        rule_id = base = f"{words}-{actions[-1]}"
        number = 2
        while rule_id in taken:
            rule_id, number = f"{base}-{number}", number + 1
        taken.add(rule_id)
        yield rule_id, rule


def password_variable(name: str) -> str:
    """Return the variable that a proposal names for a user's password."""
    return f"{re.sub(r'[^A-Za-z0-9]', '_', name).upper()}_PASSWORD"


def check_proposal_file(file: Path) -> None:
    """Raise LocalError for a file that is there already, or whose folder is not."""
    if file.is_symlink() or file.exists():
        raise LocalError(f"{file} is there already; name another file by --access")
    if not file.parent.is_dir():
        raise LocalError(f"{file} cannot be written: {file.parent} is no folder")


def write_proposal(proposal: AccessProposal, file: Path, source: str) -> None:
    """Write the file, which only its owner may read; raise LocalError, also for one that is there already."""
    text = yaml.safe_dump(dict(proposal.document), sort_keys=False, allow_unicode=True, width=120)
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as opened:
            opened.write(_HEADER.format(source=source, file=" ".join(file.name.split())) + text)
    except OSError as error:
        raise LocalError(f"{file} cannot be written: {error.strerror}") from None


def _section(document: Mapping[str, object], name: str) -> Mapping[str, object]:
    found = document.get(name)
    return found if isinstance(found, dict) else {}
