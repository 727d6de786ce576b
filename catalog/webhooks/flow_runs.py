"""Plans the flow runs that events of hooks start: pure rules over values."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from catalog.filters.tags import TagFilter
from catalog.path_patterns import matches
from catalog.webhooks.queue import Run, UpstreamEvent, Waiting
from catalog.webhooks.records import Hook, parse_upstream

LONGEST = 30.0
"""Seconds after which a repository that is never quiet is synced all the same."""
_TAGS = 500
"""Tags that one run takes by name."""


@dataclass(frozen=True, slots=True)
class RunPlan:
    """Runs to be started, the events that are done by them or of no use any more, and when to look again."""

    runs: tuple[Run, ...]
    done: tuple[int, ...]
    next_at: float | None


def matches_event(hook: Hook, pushed: UpstreamEvent) -> bool:
    """Return whether an event matches a hook: its repository is below the hook's upstream and fits, and so does its tag."""
    _, prefix = parse_upstream(hook.upstream)
    if prefix and pushed.repository != prefix and not pushed.repository.startswith(f"{prefix}/"):
        return False
    if hook.repositories and not any(matches(pattern, pushed.repository) for pattern in hook.repositories):
        return False
    if pushed.action == "delete":
        return hook.whole
    if pushed.action == "many" or not hook.tags:
        return hook.whole or pushed.action == "many" or bool(pushed.tag)
    return bool(pushed.tag) and bool(TagFilter(hook.tags).match([pushed.tag]).kept)


def target_of(hook: Hook, repository: str) -> str:
    """Return the repository here for one upstream: `target` replaces the upstream's prefix."""
    _, prefix = parse_upstream(hook.upstream)
    if not hook.target:
        return repository
    return "/".join(filter(None, (hook.target, repository.removeprefix(prefix).strip("/"))))


def requests_of(hook: Hook, repository: str, events: Iterable[UpstreamEvent]) -> list[dict[str, Any]]:
    """Return the requests of a deployment: the tags pushed by name, or what the hook's request selects."""
    registry, _ = parse_upstream(hook.upstream)
    pushes = list(events)
    request = {**hook.request, "remote": f"{registry}/{repository}", "repository": target_of(hook, repository)}
    if hook.whole:
        return [request]
    if any(one.action == "many" for one in pushes):
        return [{**request, "include": list(hook.tags)}]
    tags = sorted({one.tag for one in pushes})
    return [{**request, "include": tags[start : start + _TAGS]} for start in range(0, len(tags), _TAGS)]


def plan_runs(hooks: Mapping[str, Hook], waiting: Sequence[Waiting], now: float, make_id: Callable[[], str]) -> RunPlan:
    """Plan one run for all events of a hook and repository, once it has been quiet for the hook's time."""
    groups: dict[tuple[str, str], list[Waiting]] = {}
    done: list[int] = []
    for one in waiting:
        if one.hook in hooks:
            groups.setdefault((one.hook, one.pushed.repository), []).append(one)
        else:
            done.append(one.id)
    runs: list[Run] = []
    later: list[float] = []
    for (name, repository), events in groups.items():
        hook = hooks[name]
        due = min(events[-1].received_at + hook.quiet_seconds, events[0].received_at + max(LONGEST, hook.quiet_seconds))
        if due > now:
            later.append(due)
            continue
        done += [one.id for one in events]
        runs += [
            Run(make_id(), name, hook.deployment, request, now)
            for request in requests_of(hook, repository, [one.pushed for one in events])
        ]
    return RunPlan(tuple(runs), tuple(done), min(later, default=None))
