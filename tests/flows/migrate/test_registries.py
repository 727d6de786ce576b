"""Migrations from Harbor, Quay and Pulp, as they document their APIs, before a real docker-registry: content, privacy, rules."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pydantic import ValidationError

from catalog.catalog import Catalog
from catalog.desired_state.entries import CatalogEntries
from catalog.distributions.records import Distribution
from catalog.quotas.quotas import Quota
from cli.configuration.document import read_config_file
from flows.migrate.registry_request import HarborMigrationRequest, QuayMigrationRequest
from oci.errors import LocalError, RemoteRefused, RemoteUnauthorized
from oci.manifest import Manifest
from tests.flows.migrate.conftest import FromRegistry, Start, outcomes
from tests.flows.migrate.products import (
    LOGIN,
    TOKEN,
    ApiReply,
    Harbor,
    HarborProject,
    Quay,
    harbor_member,
    harbor_robot,
    quay_repository,
    tag_rule,
)
from tests.mirror import upload
from tests.servers import DockerRegistry

# --- Harbor ----------------------------------------------------------------------------------------------------


def harbor(**changes: object) -> Harbor:
    projects = [
        HarborProject(
            "team",
            ("team/app", "team/tools/cli"),
            public=False,
            immutable=(
                tag_rule(tags="v*", repositories="app"),
                tag_rule(tags="x*", disabled=True),
                tag_rule(tags="{a,b}"),
            ),
            retention=(tag_rule("always", "release-*"), tag_rule("nDaysSinceLastPush", number=7)),
        ),
        HarborProject("open", ("open/site",), retention=(tag_rule("latestPushedK", number=10),)),
        HarborProject("closed", closed=True),
        HarborProject("cache", ("cache/library/alpine",), fields={"registry_id": 3}),
    ]
    return Harbor(projects, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize("links", [True, False], ids=["link", "total-count"])
def test_a_harbor_moves_in_with_privacy_and_rules(
    product: Start,
    from_registry: FromRegistry,
    catalog: Catalog,
    images: dict[str, Manifest],
    links: bool,
) -> None:
    with product(harbor(most=1, links=links)) as running:
        result = from_registry("harbor", running.host, logins={running.host: LOGIN}, prefix="moved")
    assert result.is_equal
    assert outcomes(result) == {
        "moved/team/app": "migrated",
        "moved/team/tools/cli": "migrated",
        "moved/open/site": "migrated",
    }
    served = {one.path: one for one in catalog.distributions.all()}
    assert {path: one.private for path, one in served.items()} == {
        "moved/open/site": False,
        "moved/team/app": True,
        "moved/team/tools/cli": True,
    }
    assert served["moved/team/app"].immutable_tags == ("v*",)
    assert served["moved/team/tools/cli"].immutable_tags == ()
    assert served["moved/open/site"].description == "about open/site"
    assert catalog.snapshots.get("moved/team/app").tags == {"v1": images["team/app"].digest}
    assert [(one.name, one.pattern, one.keep, one.set_within) for one in catalog.retention_rules.all()] == [
        ("team-1", "moved/team/**", ("release-*",), ""),
        ("team-2", "moved/team/**", (), "7d"),
    ]
    said = "\n".join(result.not_taken)
    for part in ("closed: ", "403", "cache: a proxy cache", "latestPushedK 10", "{a,b}", "robot accounts"):
        assert part in said


def test_a_plan_of_a_harbor_changes_nothing(product: Start, from_registry: FromRegistry, catalog: Catalog) -> None:
    with product(harbor()) as running:
        result = from_registry("harbor", running.host, logins={running.host: LOGIN}, dry_run=True, include=["team/**"])
    assert outcomes(result) == {"team/app": "to migrate", "team/tools/cli": "to migrate"}
    assert result.not_selected == ("open/site",)
    assert all(one.planned.private and one.planned.to_copy for one in result.repositories)
    assert "retention rule team-1 for team/**" in result.taken
    assert catalog.distributions.all() == []
    assert list(catalog.retention_rules.all()) == []
    assert catalog.snapshots.find("team/app") is None


def test_a_second_migration_catches_up_and_opens_nothing(
    product: Start, from_registry: FromRegistry, catalog: Catalog
) -> None:
    api = harbor()
    with product(api) as running:
        logins = {running.host: LOGIN}
        from_registry("harbor", running.host, logins=logins)
        api.projects[0].public = True  # opened there: here an administrator decides
        api.projects[1].public = False
        again = from_registry("harbor", running.host, logins=logins)
    assert set(outcomes(again).values()) == {"unchanged"}
    assert {one.path: one.private for one in catalog.distributions.all()} == {
        "open/site": True,
        "team/app": True,
        "team/tools/cli": True,
    }
    assert "open/site is private now, as it is at the source" in again.notes


def test_rules_stay_behind_where_they_are_not_wanted(
    product: Start, from_registry: FromRegistry, catalog: Catalog
) -> None:
    with product(harbor()) as running:
        from_registry("harbor", running.host, logins={running.host: LOGIN}, rules=False)
        assert not any("immutabletagrules" in path or "retentions" in path for path in running.asked)
    assert list(catalog.retention_rules.all()) == []


def test_a_harbor_without_a_login_is_told(product: Start, from_registry: FromRegistry) -> None:
    with product(harbor()) as running, pytest.raises(RemoteUnauthorized, match="wants a login"):
        from_registry("harbor", running.host)


def test_a_list_that_goes_on_at_another_host_is_refused(product: Start, from_registry: FromRegistry) -> None:
    with product(harbor()) as running, product(harbor()) as other:
        link = {"link": f'<http://localhost:{other.host.rpartition(":")[2]}/api/v2.0/projects?page=2>; rel="next"'}
        running.faults.append(lambda path, _query: ApiReply([], headers=link) if path == "/api/v2.0/projects" else None)
        with pytest.raises(RemoteRefused, match="goes on at localhost"):
            from_registry("harbor", running.host, logins={running.host: LOGIN})
        assert other.asked == []


def test_a_list_that_never_ends_is_broken_off(product: Start, from_registry: FromRegistry) -> None:
    with product(harbor()) as running:
        link = {"link": '</api/v2.0/projects?page=1&page_size=100>; rel="next"'}
        running.faults.append(lambda path, _query: ApiReply([], headers=link) if path == "/api/v2.0/projects" else None)
        with pytest.raises(Exception, match="in a loop"):
            from_registry("harbor", running.host, logins={running.host: LOGIN})
        assert len(running.asked) == 1


def test_a_rate_limit_is_waited_for(product: Start, from_registry: FromRegistry) -> None:
    refused = [ApiReply({"errors": [{"code": "TOOMANYREQUESTS"}]}, 429, {"retry-after": "0"})]
    with product(harbor()) as running:
        running.faults.append(lambda path, _query: refused.pop() if refused and path.endswith("repositories") else None)
        result = from_registry("harbor", running.host, logins={running.host: LOGIN}, dry_run=True)
    assert len(result.repositories) == 3
    assert not refused


@pytest.mark.parametrize(
    ("project", "said"),
    [
        (HarborProject("team", ("team/app",), fields={"metadata": None}), "counts as private"),
        (HarborProject("team", ("team/app",), metadata={"public": None}), "counts as private"),
        (HarborProject("team", ("pro/x",)), "lists pro/x among the repositories of team"),
        (HarborProject("team", ("team/../etc",)), "has no name"),
        (HarborProject("team", ("team/app",), fields={"name": None}), "a project without a name"),
        (HarborProject("team", ("team/app",), fields={"name": 7}), "a project without a name"),
    ],
    ids=["no-metadata", "no-public", "of-another", "no-name", "unnamed", "numbered"],
)
def test_odd_projects_are_told_and_never_opened(
    product: Start, from_registry: FromRegistry, catalog: Catalog, project: HarborProject, said: str
) -> None:
    open_one = HarborProject("open", ("open/site",))
    with product(Harbor([project, open_one])) as running:
        result = from_registry("harbor", running.host, logins={running.host: LOGIN})
    assert said in "\n".join(result.not_taken)
    assert outcomes(result)["open/site"] == "migrated"
    assert [one.path for one in catalog.distributions.all() if not one.private] == ["open/site"]


@pytest.mark.parametrize("document", [b"<html>", {"projects": []}, [1], "text", b"[" * 100_000])
def test_what_is_no_list_is_no_harbor(product: Start, from_registry: FromRegistry, document: object) -> None:
    with product(harbor()) as running:
        running.faults.append(lambda _path, _query: ApiReply(document))
        with pytest.raises(Exception, match="answered /api/v2"):
            from_registry("harbor", running.host, logins={running.host: LOGIN})


def test_one_repository_that_cannot_be_read_spoils_no_other(
    product: Start, from_registry: FromRegistry, catalog: Catalog
) -> None:
    with product(harbor()) as running:
        running.refusals.append(("GET", "/v2/team/app/tags", 403))
        result = from_registry("harbor", running.host, logins={running.host: LOGIN})
    assert outcomes(result) == {"team/app": "failed", "team/tools/cli": "migrated", "open/site": "migrated"}
    assert result.failed.keys() == {"team/app"}
    assert catalog.distributions.find("team/app") is None


def harbor_with_access(**fields: object) -> Harbor:
    team = HarborProject(
        "team",
        ("team/app",),
        members=(
            harbor_member("alice", 4),
            harbor_member("Bob@Example.org", 2),
            harbor_member("guest", 3),
            harbor_member("admin", 1),
            harbor_member("ldap-devs", 2, kind="g"),
            harbor_member("odd", 99),
        ),
        robots=(
            harbor_robot("ci", "team", ("repository", "push"), ("repository", "pull"), ("tag", "create")),
            harbor_robot("old", "team", ("repository", "pull"), disable=True),
            harbor_robot("scan", "team", ("scan", "create")),
        ),
        bytes=5_000_000_000,
    )
    other = HarborProject("open", ("open/site",), members=(harbor_member("carol", 2),), bytes=-1)
    return Harbor([team, other], **fields)  # type: ignore[arg-type]


def test_quotas_of_projects_become_quotas_of_patterns(
    product: Start, from_registry: FromRegistry, catalog: Catalog
) -> None:
    catalog.quotas.put(Quota("other/**", max_bytes=1), actor="test")
    with product(harbor_with_access()) as running:
        logins = {running.host: LOGIN}
        plan = from_registry("harbor", running.host, logins=logins, prefix="moved", dry_run=True)
        assert [one.quota.pattern for one in catalog.quotas.all()] == ["other/**"]
        from_registry("harbor", running.host, logins=logins, prefix="moved")
        catalog.quotas.put(Quota("moved/team/**", max_bytes=7_000_000_000), actor="test")
        again = from_registry("harbor", running.host, logins=logins, prefix="moved")
    assert "quota of moved/team/**: 5.0 GB" in plan.taken
    assert {one.quota.pattern: one.quota.max_bytes for one in catalog.quotas.all()} == {
        "moved/team/**": 7_000_000_000,
        "other/**": 1,
    }
    assert "the quota of moved/team/** here says something else, and stays as it is" in again.notes


@pytest.mark.parametrize("wanted", [True, False])
def test_artifacts_without_a_tag_come_along_where_they_are_wanted(
    product: Start, from_registry: FromRegistry, catalog: Catalog, registry: DockerRegistry, wanted: bool
) -> None:
    name = "team/deep/tool"
    old = upload(registry, name, "v1", "the first").digest
    upload(registry, name, "v1", "the second")
    team = HarborProject("team", (name,), untagged={name: [old]})
    with product(Harbor([team])) as running:
        result = from_registry("harbor", running.host, logins={running.host: LOGIN}, untagged=wanted)
    assert result.is_equal
    (one,) = result.repositories
    assert (one.planned.untagged, one.compared and one.compared.count) == ((1, 2) if wanted else (0, 1))
    assert (old in catalog.snapshots.get(name).manifests) is wanted
    assert any("--untagged takes them along" in text for text in result.not_taken) is not wanted


def test_an_artifact_that_is_gone_or_has_no_digest_spoils_no_other(
    product: Start, from_registry: FromRegistry, catalog: Catalog, registry: DockerRegistry
) -> None:
    name, gone = "team/deep/old", f"sha256:{'ab' * 32}"
    old = upload(registry, name, "v1", "the first").digest
    upload(registry, name, "v1", "the second")
    team = HarborProject("team", (name,), untagged={name: ["none", gone, old]}, immutable=(tag_rule(tags="v*"),))
    with product(Harbor([team])) as running:
        result = from_registry("harbor", running.host, logins={running.host: LOGIN}, untagged=True)
    assert result.is_equal
    assert old in catalog.snapshots.get(name).manifests
    assert catalog.distributions.get(name).immutable_tags == ("v*",)
    assert f"a manifest of {name} without a tag has no digest, and stays behind" in result.not_taken
    assert any(f"{name}: {gone} is listed at the source, and not there" in text for text in result.notes)


def test_who_may_do_what_in_a_harbor_is_proposed_and_not_applied(
    product: Start, from_registry: FromRegistry, catalog: Catalog, tmp_path: Path
) -> None:
    file = tmp_path / "access.yaml"
    with product(harbor_with_access(most=2)) as running:
        logins = {running.host: LOGIN}
        fields = {"dry_run": True, "prefix": "moved", "include": ["team/**"]}
        without = from_registry("harbor", running.host, logins=logins, **fields)
        assert not any("members" in path or "robots" in path for path in running.asked)
        result = from_registry("harbor", running.host, logins=logins, access=file, **fields)
        with pytest.raises(LocalError, match="is there already"):
            from_registry("harbor", running.host, logins=logins, access=file, **fields)
    proposed = read_config_file(file).value
    assert proposed["users"] == {
        "alice": {"password": "env:ALICE_PASSWORD"},
        "bob-example-org": {"password": "env:BOB_EXAMPLE_ORG_PASSWORD"},
        "guest": {"password": "env:GUEST_PASSWORD"},
        "team-ci": {"robot": True},
    }
    assert proposed["groups"] == {"ldap-devs": []}
    assert proposed["access"] == {
        "moved-team-pull": {"subjects": ["user:guest"], "actions": ["pull"], "paths": ["moved/team/**"]},
        "moved-team-push": {
            "subjects": ["group:ldap-devs", "robot:team-ci", "user:bob-example-org"],
            "actions": ["pull", "push"],
            "paths": ["moved/team/**"],
        },
        "moved-team-delete": {
            "subjects": ["user:alice"],
            "actions": ["pull", "push", "delete"],
            "paths": ["moved/team/**"],
        },
    }
    assert "robot-secret" not in file.read_text()
    assert file.stat().st_mode & 0o777 == 0o600
    said = "\n".join(result.not_taken)
    for part in ("admin is the administrator here", "unknown role", "team+old", "team+scan", "the group ldap-devs"):
        assert part in said
    assert "--access FILE proposes it" in "\n".join(without.not_taken)
    assert any("4 users, 1 groups and 3 rules" in text for text in result.taken)


def test_a_proposal_is_a_file_for_apply(product: Start, from_registry: FromRegistry, tmp_path: Path) -> None:
    file = tmp_path / "access.yaml"
    with product(harbor_with_access()) as running:
        from_registry("harbor", running.host, logins={running.host: LOGIN}, access=file, dry_run=True)
    proposed = {name: value for name, value in read_config_file(file).value.items() if name != "version"}
    entries = CatalogEntries.model_validate(proposed)
    assert sorted(entries.access) == ["open-push", "team-delete", "team-pull", "team-push"]


def test_what_members_may_is_a_remark_where_it_cannot_be_read(
    product: Start, from_registry: FromRegistry, tmp_path: Path
) -> None:
    with product(harbor_with_access()) as running:
        running.faults.append(
            lambda path, _query: ApiReply({}, 403) if path.endswith(("/members", "/summary", "/robots")) else None
        )
        result = from_registry(
            "harbor", running.host, logins={running.host: LOGIN}, access=tmp_path / "access.yaml", dry_run=True
        )
    said = "\n".join(result.not_taken)
    for part in ("quota of project team", "members of project team", "robot accounts of project open"):
        assert part in said
    assert outcomes(result) == {"team/app": "to migrate", "open/site": "to migrate"}


# --- Quay ------------------------------------------------------------------------------------------------------


def test_who_may_do_what_in_a_quay_is_proposed(
    product: Start, from_registry: FromRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QUAY_TOKEN", TOKEN)
    file = tmp_path / "access.yaml"
    members: list[dict[str, object]] = [
        {"name": "alice", "kind": "user", "is_robot": False, "invited": False},
        {"name": "team+ci", "kind": "user", "is_robot": True, "invited": False},
        {"name": "dave", "kind": "user", "is_robot": False, "invited": True},
    ]
    api = quay(
        teams={"team": {"owners": ("admin", members), "devs": ("member", members[:1]), "unused": ("creator", [])}},
        permissions={
            "team/app/permissions/user": {"bob": {"name": "bob", "role": "read", "is_robot": False}},
            "team/app/permissions/team": {"devs": {"name": "devs", "role": "write"}},
            "team/tools/cli/permissions/user": {"team+ci": {"name": "team+ci", "role": "admin", "is_robot": True}},
        },
    )
    with product(api) as running:
        result = from_registry("quay", running.host, api_token="env:QUAY_TOKEN", access=file, dry_run=True)
    proposed = read_config_file(file).value
    assert proposed["groups"] == {"team-owners": ["alice", "team-ci"], "team-devs": ["alice"]}
    assert proposed["users"]["team-ci"] == {"robot": True}
    assert proposed["access"] == {
        "team-delete": {
            "subjects": ["group:team-owners"],
            "actions": ["pull", "push", "delete"],
            "paths": ["team/**"],
        },
        "team-app-pull": {"subjects": ["user:bob"], "actions": ["pull"], "paths": ["team/app"]},
        "team-app-push": {"subjects": ["group:team-devs"], "actions": ["pull", "push"], "paths": ["team/app"]},
        "team-tools-cli-delete": {
            "subjects": ["robot:team-ci"],
            "actions": ["pull", "push", "delete"],
            "paths": ["team/tools/cli"],
        },
    }
    said = "\n".join(result.not_taken)
    assert "dave is only invited" in said
    assert "unused of team may create repositories" in said


def quay(**changes: object) -> Quay:
    return Quay(
        {
            "mover": [],
            "team": [
                quay_repository("team/app", public=False, description="the app"),
                quay_repository("team/tools/cli", state="MIRROR"),
                quay_repository("team/chart", kind="application"),
            ],
            "open": [quay_repository("open/site"), quay_repository("open/Bad")],
        },
        **changes,  # type: ignore[arg-type]
    )


def test_a_quay_moves_in_by_the_token_of_an_application(
    product: Start,
    from_registry: FromRegistry,
    catalog: Catalog,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("QUAY_TOKEN", TOKEN)
    with product(quay(most=1)) as running:
        result = from_registry("quay", running.host, api_token="env:QUAY_TOKEN")  # where it is
        passed = json.dumps([one.path for one in running.seen])
    assert result.is_equal
    assert {one.path: (one.private, one.description) for one in catalog.distributions.all()} == {
        "team/app": (True, "the app"),
        "team/tools/cli": (False, ""),
        "open/site": (False, ""),
    }
    said = "\n".join(result.not_taken)
    for part in ("team/chart: holds applications", "open/Bad: is no name", "team/tools/cli is in the state MIRROR"):
        assert part in said
    assert TOKEN not in passed + json.dumps(result.to_json(), default=str)


def test_a_quay_shows_public_repositories_of_a_namespace_to_everybody(
    product: Start, from_registry: FromRegistry
) -> None:
    with product(quay()) as running:
        result = from_registry("quay", running.host, namespaces=["team", "unknown"])
        with pytest.raises(RemoteUnauthorized, match="name namespaces by --namespace"):
            from_registry("quay", running.host)
    assert outcomes(result) == {"team/tools/cli": "migrated"}
    assert any(text.startswith("unknown: ") for text in result.not_taken)


def test_a_quay_that_says_nothing_of_privacy_counts_as_closed(
    product: Start, from_registry: FromRegistry, catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QUAY_TOKEN", TOKEN)
    with product(Quay({"team": [quay_repository("team/app", is_public="absent")]})) as running:
        from_registry("quay", running.host, api_token="env:QUAY_TOKEN")  # where it is
    assert catalog.distributions.get("team/app").private


def test_pages_of_a_quay_that_lead_back_are_broken_off(product: Start, from_registry: FromRegistry) -> None:
    with product(quay()) as running:
        running.faults.append(lambda _path, _query: ApiReply({"repositories": [], "next_page": "again"}))
        result = from_registry("quay", running.host, namespaces=["team"])
        assert len(running.asked) == 2
    assert "in a loop" in "\n".join(result.not_taken)


# --- forms -----------------------------------------------------------------------------------------------------


def test_secrets_are_no_parameters() -> None:
    with pytest.raises(ValidationError, match="leave credentials out") as caught:
        HarborMigrationRequest.model_validate({"kind": "harbor", "url": "https://user:secret@harbor.example"})
    assert "secret" not in str(caught.value)
    with pytest.raises(ValidationError, match="expected a reference") as caught:
        QuayMigrationRequest.model_validate({"kind": "quay", "url": "https://quay.example", "api_token": "secret"})
    assert "secret" not in str(caught.value)
    with pytest.raises(ValidationError, match="a host without a path"):
        HarborMigrationRequest.model_validate({"kind": "harbor", "url": "https://harbor.example/c/"})


def test_a_quay_has_no_option_for_manifests_without_a_tag() -> None:
    with pytest.raises(ValidationError, match="untagged"):
        QuayMigrationRequest.model_validate({"kind": "quay", "url": "https://quay.example", "untagged": True})


def test_paths_that_serve_something_else_here_are_told_and_stay(
    product: Start, from_registry: FromRegistry, catalog: Catalog
) -> None:
    now = datetime(2026, 1, 2, tzinfo=UTC)
    catalog.distributions.put(Distribution("team/app", "", now, now, remote="registry.example"), actor="test")
    with product(harbor()) as running:
        result = from_registry("harbor", running.host, logins={running.host: LOGIN})
    assert result.failed == {"team/app": "team/app is a cache here"}
    assert catalog.distributions.get("team/app").remote == "registry.example"
