"""Migrations from a Pulp as it documents its API, before a real docker-registry."""

from collections.abc import Callable

import pytest

from catalog.catalog import Catalog
from flows.migrate.report import MigrationResult
from oci.manifest import Manifest
from tests.flows.migrate.conftest import FromRegistry, Start, StartPulp, outcomes
from tests.flows.migrate.products import LOGIN, ApiReply, Query, denied
from tests.flows.migrate.pulp_product import ROOT, Pulp, PulpContent, manifest_href
from tests.mirror import upload
from tests.servers import DockerRegistry

MANIFESTS, TAGS = f"{ROOT}content/container/manifests/", f"{ROOT}content/container/tags/"
GONE = f"sha256:{'ab' * 32}"


def test_a_pulp_moves_in_and_its_sources_are_told(
    product: Start, from_registry: FromRegistry, catalog: Catalog
) -> None:
    hosts: list[str] = []
    with product(Pulp(lambda: hosts[0], {"team/app": True, "open/site": False}, most=1)) as running:
        hosts.append(running.host)
        result = from_registry("pulp", running.host, logins={running.host: LOGIN})
    assert result.is_equal
    served = {one.path: one for one in catalog.distributions.all()}
    assert {path: one.private for path, one in served.items()} == {"open/site": False, "team/app": True}
    assert (served["team/app"].description, served["team/app"].labels) == ("about team/app", {"team": "platform"})
    said = "\n".join(result.not_taken)
    assert "repository alpine is synced from https://registry-1.docker.io/library/alpine (include_tags 3.*)" in said


def test_a_pulp_whose_list_goes_on_elsewhere_is_asked_itself(product: Start, from_registry: FromRegistry) -> None:
    with product(lambda _path, _query, _headers: None) as other:
        pulp = Pulp(
            lambda: f"localhost:{other.host.rpartition(':')[2]}", {"team/app": True, "open/site": False}, most=1
        )
        with product(pulp) as running:
            result = from_registry("pulp", running.host, logins={running.host: LOGIN}, dry_run=True)
        assert other.asked == []
    assert len(result.repositories) == 2


# --- manifests without a tag -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def old(registry: DockerRegistry) -> Manifest:
    """What was tagged before, in two repositories; v1 of each is another one."""
    for name in ("team/deep/tool", "team/deep/other"):
        found = upload(registry, name, "v1", "the first")
        upload(registry, name, "v1", f"the second of {name}")
    return found


def stock_of(registry: DockerRegistry, old: Manifest, *more: str) -> PulpContent:
    """What a Pulp has of team/deep/tool: the old index and the one with a tag, each with its image."""
    now = upload(registry, "team/deep/tool", "v1", "the second of team/deep/tool")
    images = {str(one.digest): () for index in (old, now) for _role, one in index.children()}
    listed = {str(index.digest): [str(one.digest) for _role, one in index.children()] for index in (old, now)}
    return PulpContent({**images, **listed, **dict.fromkeys(more, ())}, {"v1": str(now.digest)})


@pytest.mark.parametrize("wanted", [True, False])
@pytest.mark.parametrize("kind", ["synced", "pushed", "pinned"])
def test_manifests_without_a_tag_come_along_where_they_are_wanted(
    pulp: StartPulp,
    migrate: Callable[..., MigrationResult],
    catalog: Catalog,
    registry: DockerRegistry,
    old: Manifest,
    wanted: bool,
    kind: str,
) -> None:
    name = "team/deep/tool"
    fields = {} if kind == "synced" else {kind: frozenset([name])}
    with pulp({name: True}, contents={name: stock_of(registry, old)}, most=1, **fields) as running:
        result = migrate(running, untagged=wanted)
        asked = [one for one in running.asked if one.startswith((MANIFESTS, TAGS))]
    assert result.is_equal
    (one,) = result.repositories
    assert (one.planned.untagged, one.compared and one.compared.count) == ((1, 2) if wanted else (0, 1))
    assert (old.digest in catalog.snapshots.get(name).manifests) is wanted
    assert any("--untagged takes them along" in text for text in result.not_taken) is not wanted
    assert len(asked) == (5 if wanted else 0)


def test_a_version_that_two_distributions_serve_is_read_once(
    pulp: StartPulp,
    migrate: Callable[..., MigrationResult],
    registry: DockerRegistry,
    old: Manifest,
) -> None:
    one, two = "team/deep/tool", "team/deep/other"
    shared = {two: {"repository": f"{ROOT}repositories/container/container/1/"}}
    with pulp({one: True, two: True}, contents={one: stock_of(registry, old)}, fields=shared) as running:
        result = migrate(running, untagged=True, dry_run=True)
        assert sum(asked.startswith(MANIFESTS) for asked in running.asked) == 1
    assert [one.planned.untagged for one in result.repositories] == [1, 1]


def test_a_manifest_that_is_listed_and_gone_is_told(
    pulp: StartPulp,
    migrate: Callable[..., MigrationResult],
    catalog: Catalog,
    registry: DockerRegistry,
    old: Manifest,
) -> None:
    name = "team/deep/tool"
    with pulp({name: True}, contents={name: stock_of(registry, old, GONE)}) as running:
        result = migrate(running, untagged=True)
    assert result.is_equal
    assert old.digest in catalog.snapshots.get(name).manifests
    assert any(f"{name}: {GONE} is listed at the source, and not there" in text for text in result.notes)


@pytest.mark.parametrize("value", [None, 7, "sha256:../../etc", "v1", ["x"]])
def test_a_manifest_whose_digest_is_none_spoils_no_other(
    pulp: StartPulp,
    migrate: Callable[..., MigrationResult],
    catalog: Catalog,
    registry: DockerRegistry,
    old: Manifest,
    value: object,
) -> None:
    name = "team/deep/tool"
    odd = {"pulp_href": manifest_href(GONE), "digest": value, "listed_manifests": value}
    right = {"pulp_href": manifest_href(old.digest), "digest": old.digest, "listed_manifests": None}
    with pulp({name: True}, contents={name: stock_of(registry, old)}) as running:
        page = {"count": 2, "next": None, "results": [odd, right]}
        running.faults.append(lambda path, _query: ApiReply(page) if path == MANIFESTS else None)
        result = migrate(running, untagged=True)
    assert result.is_equal
    assert old.digest in catalog.snapshots.get(name).manifests
    assert any(f"a manifest of {name} without a tag has no digest" in text for text in result.not_taken)


def looped(path: str, _query: Query) -> ApiReply | None:
    return ApiReply({"next": f"http://elsewhere.example{path}?x=1", "results": []}) if path == TAGS else None


def broken_off(path: str, query: Query) -> ApiReply | None:
    return denied(403) if path == MANIFESTS and "offset" in query else None


def of_lists(path: str, _query: Query) -> ApiReply | None:
    return ApiReply({"results": {"a": 1}}) if path == MANIFESTS else None


def unlisted(path: str, _query: Query) -> ApiReply | None:
    return denied(401) if path == f"{ROOT}repositories/container/container/" else None


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (looped, "in a loop"),
        (broken_off, "403"),
        (of_lists, "no list of objects"),
        (unlisted, "its repository is not among those"),
        (lambda path, _query: ApiReply(b"<html>") if path == TAGS else None, "other than a JSON object"),
        (lambda path, _query: ApiReply({"results": [7]}) if path == TAGS else None, "no list of objects"),
        (
            lambda path, _query: ApiReply({"results": [], "next": "http://["}) if path == TAGS else None,
            "breaks off",
        ),
        (lambda path, _query: ApiReply(b" " * 40_000_000) if path == TAGS else None, "bytes"),
    ],
)
def test_manifests_that_cannot_be_read_are_told_and_the_others_move(
    pulp: StartPulp,
    migrate: Callable[..., MigrationResult],
    registry: DockerRegistry,
    old: Manifest,
    fault: Callable[[str, Query], ApiReply | None],
    said: str,
) -> None:
    name = "team/deep/tool"
    with pulp({name: True, "open/site": False}, contents={name: stock_of(registry, old)}, most=2) as running:
        running.faults.append(fault)
        result = migrate(running, untagged=True, dry_run=True)
    assert outcomes(result) == {name: "to migrate", "open/site": "to migrate"}
    found = [text for text in result.not_taken if f"manifests of {name} without a tag" in text]
    assert len(found) == 1
    assert said in found[0]


@pytest.mark.parametrize("base", ["../etc", "team/../etc", "Team", "", None], ids=str)
def test_a_distribution_without_a_name_spoils_no_other(
    pulp: StartPulp, migrate: Callable[..., MigrationResult], base: object
) -> None:
    fields = {"team/app": {"base_path": base, "registry_path": f"x/{base}"}}
    with pulp({"team/app": True, "open/site": False}, fields=fields) as running:
        result = migrate(running, dry_run=True, untagged=True)
    assert outcomes(result) == {"open/site": "to migrate"}
    assert any("is no name" in text for text in result.not_taken)
