"""Rules of another product's projects, as far as they have a counterpart here: pure."""

from collections.abc import Callable, Iterable, Mapping, Sequence

from catalog.path_patterns import matches
from catalog.quotas.quotas import Quota, check_quota
from catalog.retention.rules import RetentionRule
from oci.errors import InvalidInput
from oci.remote.discovery.inventory import TagRule

_KEPT_FOR: Mapping[str, str] = {"nDaysSinceLastPush": "set_within", "nDaysSinceLastPull": "pulled_within"}
_BRACES = frozenset("{}[]\\")


def map_immutability(rules: Iterable[TagRule], paths: Iterable[str]) -> tuple[dict[str, tuple[str, ...]], list[str]]:
    """Return globs of immutable tags for each path there, and why other rules have no counterpart."""
    found: dict[str, tuple[str, ...]] = {}
    not_taken: list[str] = []
    known = list(paths)
    for rule in rules:
        if not _can_be_written(rule):
            not_taken.append(f"immutability: {rule} has no counterpart: patterns here neither exclude nor have braces")
            continue
        pattern = f"{rule.project}/{rule.repositories}"
        for path in known:
            if path.startswith(f"{rule.project}/") and _fits(pattern, path):
                found[path] = tuple(dict.fromkeys((*found.get(path, ()), _tag_glob(rule.tags))))
    return found, not_taken


def map_retention(rules: Sequence[TagRule], target: Callable[[str], str]) -> tuple[list[RetentionRule], list[str]]:
    """Return the rules for here, and why those of other projects have no counterpart.

    Rules of a project keep what any of them keeps, here as there. So one that cannot be written leaves out all of its project:
    the others alone would delete what it keeps.
    """
    made: list[RetentionRule] = []
    not_taken: list[str] = []
    for project in dict.fromkeys(rule.project for rule in rules):
        own = [rule for rule in rules if rule.project == project]
        foreign = next((rule for rule in own if not _is_known(rule)), None)
        if foreign is not None:
            not_taken.append(
                f"retention of project {project}: {foreign} has no counterpart, so none of its rules is taken"
            )
            continue
        try:
            made += [_rule_of(rule, number, target) for number, rule in enumerate(own, 1)]
        except (InvalidInput, ValueError):
            not_taken.append(f"retention of project {project}: its name or patterns cannot be written here")
    return made, not_taken


def map_quotas(
    quotas: Mapping[str, int], paths: Iterable[str], target: Callable[[str], str]
) -> tuple[list[Quota], list[str]]:
    """Return the quotas of projects of which something is migrated, and why others cannot be written.

    Here a blob counts for each repository that has it, there once for the project.
    """
    made: list[Quota] = []
    not_taken: list[str] = []
    projects = {path.partition("/")[0] for path in paths}
    for project, size in quotas.items():
        if project not in projects:
            continue
        try:
            made.append(check_quota(Quota(f"{target(project)}/**", max_bytes=size)))
        except InvalidInput:
            not_taken.append(f"quota of project {project}: its name cannot be written here")
    return made, not_taken


def _is_known(rule: TagRule) -> bool:
    if not _can_be_written(rule):
        return False
    if rule.template == "always":
        return True
    return rule.template in _KEPT_FOR and rule.number > 0 and _tag_glob(rule.tags) == "*"


def _rule_of(rule: TagRule, number: int, target: Callable[[str], str]) -> RetentionRule:
    kept = _KEPT_FOR.get(rule.template)
    fields = {kept: f"{rule.number}d"} if kept else {"keep": (_tag_glob(rule.tags),)}
    pattern = f"{target(rule.project)}/{rule.repositories}"
    return RetentionRule.model_validate({"name": f"{rule.project}-{number}", "pattern": pattern, **fields})


def _can_be_written(rule: TagRule) -> bool:
    return rule.is_plain and _BRACES.isdisjoint(rule.tags + rule.repositories)


def _tag_glob(pattern: str) -> str:
    """Return a pattern of tags as a glob of ours, whose `*` matches anything."""
    return "*" if set(pattern) == {"*"} else pattern.replace("**", "*")


def _fits(pattern: str, path: str) -> bool:
    try:
        return matches(pattern, path)
    except InvalidInput:
        return False
