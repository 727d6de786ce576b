"""The plan of a commit as a page shows it, and its confirmation: the same plan is committed, once, or the next one is shown."""

import hashlib
import secrets
import shlex
from collections.abc import Callable, Iterable
from dataclasses import replace
from itertools import islice
from typing import Any, NamedTuple

from fastapi import Response
from pydantic import BaseModel

from catalog.versions.changes import Commit, CommitResult, LatestIs, plan_id
from catalog.versions.snapshot import Delta, Snapshot, delta_between
from oci.errors import Conflict, EntrepotError, Unsupported
from registry_api.http.errors import is_ours
from registry_api.pages.framework.formats import link_to
from registry_api.pages.framework.own_forms import OwnForm
from registry_api.pages.framework.responses import redirect_response
from registry_api.pages.framework.visits import Visit

_MOST_TAGS = 500
_NEWER = 25


class TagChangeOut(BaseModel):
    """A tag that differs: `old` or `new` is empty where it is not there."""

    tag: str
    old: str
    new: str


class ChangePlan(BaseModel):
    """What a confirmation would do to a repository, as the dry run of the command says.

    `base` is the version that it was planned on, `plan` what it is known by. `refusal` says why it cannot be done.
    `is_outdated`: another plan was confirmed, and something has changed since. `command` does the same on the command line.
    """

    name: str
    repository: str
    base: int = 0
    plan: str = ""
    added: int = 0
    moved: int = 0
    removed: int = 0
    manifests_added: int = 0
    manifests_removed: int = 0
    changes: list[TagChangeOut] = []
    total_changes: int = 0
    refusal: str = ""
    is_outdated: bool = False
    command: str = ""

    @property
    def is_empty(self) -> bool:
        """Return whether nothing would change."""
        return not (self.total_changes or self.manifests_added or self.manifests_removed)


class PlannedCommit(NamedTuple):
    """A commit, and the version that it is planned on."""

    base: Snapshot
    commit: Commit

    @property
    def id(self) -> str:
        """Return what the plan is known by."""
        return plan_id(self.base, self.commit.changes)


Planner = Callable[[Visit], PlannedCommit]


def list_tag_changes(delta: Delta) -> list[TagChangeOut]:
    """Return the tags that a delta changes, in order, some hundred at most. Pure."""
    tags = sorted({*delta.tags_added, *delta.tags_removed})
    return [
        TagChangeOut(tag=tag, old=delta.tags_removed.get(tag, ""), new=delta.tags_added.get(tag, ""))
        for tag in islice(tags, _MOST_TAGS)
    ]


def planned_fields(base: Snapshot, result: CommitResult, plan: str) -> dict[str, Any]:
    """Return the fields of a ChangePlan that say what would change. Pure."""
    delta = delta_between(base, result.snapshot)
    moved = len(delta.tags_added.keys() & delta.tags_removed.keys())
    return {
        "base": base.version,
        "plan": plan,
        "added": len(delta.tags_added) - moved,
        "moved": moved,
        "removed": len(delta.tags_removed) - moved,
        "manifests_added": len(delta.manifests_added),
        "manifests_removed": len(delta.manifests_removed),
        "changes": list_tag_changes(delta),
        "total_changes": len(delta.tags_added.keys() | delta.tags_removed.keys()),
    }


def read_plan(visit: Visit, plan: Planner) -> dict[str, Any]:
    """Return the fields of a ChangePlan: what would change, or why nothing can be; raise what is no refusal."""
    planned = plan(visit)
    try:
        result = visit.catalog.commits.preview(planned.commit)
    except EntrepotError as error:
        if is_ours(error):
            raise
        return {"base": planned.base.version, "plan": planned.id, "refusal": error.message}
    return planned_fields(planned.base, result, planned.id)


def new_nonce() -> str:
    """Return what tells one shown plan from all others, so that a confirmation that is sent twice counts once."""
    return secrets.token_urlsafe(16)


def confirmation_id(visit: Visit, form: OwnForm) -> str:
    """Return the id of what a form confirms: the same for the same shown plan of one session."""
    text = f"{visit.form_id} {form.get('nonce')[:100]}"
    return f"page-{hashlib.blake2b(text.encode(), digest_size=16).hexdigest()}"


def check_writable(visit: Visit) -> None:
    """Raise Unsupported while the registry is read-only."""
    if visit.catalog.settings.read_only:
        raise Unsupported("this registry is read-only now")


async def confirm_plan(visit: Visit, form: OwnForm, repository: str, plan: Planner) -> int | None:
    """Commit the plan that the form confirms, once however often it is sent, and return the version that it made.

    None: the plan is another one by now, and nothing was done.
    """
    operation_id = confirmation_id(visit, form)

    def find_made() -> int | None:
        made = visit.catalog.history.find_operation(repository, operation_id)
        return made.number if made else None

    def commit() -> int | None:
        if (made := find_made()) is not None:
            return made
        planned = plan(visit)
        if planned.id != form.get("plan"):
            return None
        try:
            return visit.catalog.commits.commit(
                replace(planned.commit, operation_id=operation_id, resumable=True)
            ).version
        except Conflict:  # it was sent twice at a time, or somebody else was quicker
            return find_made()

    return await visit.threads.commit(commit)


def bound_to(base: Snapshot, commit: Commit) -> Commit:
    """Return a commit that is made on one version alone. Pure."""
    return replace(commit, requirements=(LatestIs(base.version), *commit.requirements))


def show_version(name: str, version: int, *, is_new: bool = False) -> Response:
    """Return a redirect to a version in its repository's history, with some newer ones above it."""
    query = {"made": version} if is_new else {"before": version + _NEWER}
    return redirect_response(link_to("versions", name, query=query), fragment=f"v{version}")


def shell_command(words: Iterable[str]) -> str:
    """Return a command as pasted into a shell. Pure."""
    return shlex.join(["entrepot", *words])
