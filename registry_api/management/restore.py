"""Restoring a version in a user's name: the commit that the management API and the pages make."""

from catalog.content.restore import plan_towards
from catalog.versions.changes import Commit, LatestIs, TagsStay
from catalog.versions.snapshot import Snapshot
from catalog.versions.version_origins import repository_origins
from oci.errors import NameUnknown
from registry_api.management.dependencies import RequestContext


def plan_restore(context: RequestContext, name: str, version: int) -> tuple[Snapshot, Commit]:
    """Return a repository's latest version, and the commit that gives it the content of an old one, on that version alone.

    Raises NameUnknown or VersionUnknown.
    """
    catalog = context.catalog
    content = catalog.snapshots.get(name, version)
    base = catalog.snapshots.find(name)
    if base is None:
        raise NameUnknown(f"no repository {name!r} here")
    commit = Commit(
        repository=name,
        operation="restore",
        changes=plan_towards(base, content),
        requirements=(LatestIs(base.version), TagsStay(catalog.distributions.immutable_tags(name))),
        operation_id=context.registry.make_id(),
        actor=context.account,
        message=f"restored version {version}",
        created_at=context.registry.now(),
        allow_sparse=True,
        donors=(name,),
        version_origins=repository_origins({name: content.version}),
    )
    return base, commit
