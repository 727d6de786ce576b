"""Who may do what at a Pulp is proposed in a file for `entrepot apply`; what has no counterpart is told."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from catalog.catalog import Catalog
from catalog.desired_state.entries import CatalogEntries
from cli.configuration.document import read_config_file
from flows.migrate.report import MigrationResult
from tests.flows.migrate.conftest import StartPulp, outcomes
from tests.flows.migrate.products import ApiReply, Query, denied
from tests.flows.migrate.pulp_product import (
    ROOT,
    granted,
    of_distribution,
    of_namespace,
    pulp_group,
    pulp_user,
)

Migrate = Callable[..., MigrationResult]
PATHS = {"team/app": True, "team/tools/cli": True, "open/site": False}


def access_fields() -> dict[str, object]:
    return {
        "users": [
            pulp_user(1, "admin"),
            pulp_user(2, "Alice", "devs"),
            pulp_user(3, "bob@example.org", "devs", "idle"),
            pulp_user(4, "old", "devs", is_active=False),
            pulp_user(5, "reader"),
            pulp_user(6, "nobody"),
        ],
        "groups": [pulp_group(1, "devs"), pulp_group(2, "idle")],
        "granted": {
            "users/1": [granted("namespace_owner")],
            "users/2": [
                granted("namespace_owner", of_namespace("team")),
                granted("distribution_creator"),
                granted("repository_owner", f"{ROOT}repositories/container/container/1/"),
                granted("distribution_owner", of_distribution(77)),
                granted("core.task_owner", f"{ROOT}tasks/1/"),
            ],
            "users/3": [granted("distribution_consumer", f"http://pulp.example{of_distribution(3)}")],
            "users/4": [granted("namespace_owner", of_namespace("team"))],
            "users/5": [granted("distribution_consumer"), granted("namespace_consumer")],
            "users/6": [granted("namespace_owner", None, domain=f"{ROOT}domains/1/")],
            "groups/1": [
                granted("distribution_collaborator", of_distribution(1)),
                granted("house.pusher", of_distribution(2)),
            ],
        },
    }


def rule(subjects: list[str], actions: list[str], path: str) -> dict[str, object]:
    return {"subjects": subjects, "actions": actions, "paths": [path]}


def test_who_may_do_what_in_a_pulp_is_proposed_and_not_applied(
    pulp: StartPulp, migrate: Migrate, tmp_path: Path, catalog: Catalog
) -> None:
    file = tmp_path / "access.yaml"
    with pulp(PATHS, most=1, **access_fields()) as running:
        without = migrate(running, dry_run=True)
        assert not any(word in asked for asked in running.asked for word in ("users/", "groups/", "roles/"))
        result = migrate(running, dry_run=True, access=file, prefix="moved")
    proposed = read_config_file(file).value
    assert proposed["users"] == {
        "alice": {"password": "env:ALICE_PASSWORD"},
        "bob-example-org": {"password": "env:BOB_EXAMPLE_ORG_PASSWORD"},
        "reader": {"password": "env:READER_PASSWORD"},
    }
    assert proposed["groups"] == {"devs": ["alice", "bob-example-org"]}
    assert proposed["access"] == {
        "moved-team-delete": rule(["user:alice"], ["pull", "push", "delete"], "moved/team/**"),
        "moved-team-app-push": rule(["group:devs"], ["pull", "push"], "moved/team/app"),
        "moved-team-tools-cli-push": rule(["group:devs"], ["pull", "push"], "moved/team/tools/cli"),
        "moved-open-site-pull": rule(["user:bob-example-org"], ["pull"], "moved/open/site"),
        "moved-open-pull": rule(["user:reader"], ["pull"], "moved/open/**"),
        "moved-team-pull": rule(["user:reader"], ["pull"], "moved/team/**"),
    }
    said = "\n".join(result.not_taken)
    for part in (
        "admin is the administrator here",
        "user old is not active there",
        "user Alice has the role container.containerdistribution_creator for all of Pulp: it has no counterpart",
        "user Alice has the role container.containerrepository_owner for /pulp/api/v3/repositories/container/container/1/",
        f"user Alice has the role container.containerdistribution_owner for {of_distribution(77)}",
        "user nobody has the role container.containernamespace_owner for a domain",
    ):
        assert part in said
    assert "task" not in said
    assert "hash-of-a-secret" not in file.read_text() + json.dumps(result.to_json(), default=str)
    assert "--access FILE proposes it" in "\n".join(without.not_taken)
    assert catalog.distributions.all() == []
    CatalogEntries.model_validate({name: value for name, value in proposed.items() if name != "version"})


@pytest.mark.parametrize("value", [7, "", "everything", ["x"], {}, False, "missing", "http://["], ids=str)
def test_a_role_for_what_is_not_said_allows_nothing(
    pulp: StartPulp, migrate: Migrate, tmp_path: Path, value: object
) -> None:
    role = granted("distribution_owner", value)
    if value == "missing":
        del role["content_object"]
    file = tmp_path / "access.yaml"
    with pulp(PATHS, users=[pulp_user(2, "alice")], granted={"users/2": [role]}) as running:
        result = migrate(running, dry_run=True, access=file)
    assert read_config_file(file).value["access"] == {}
    assert any("alice has the role container.containerdistribution_owner for" in text for text in result.not_taken)


@pytest.mark.parametrize(
    "odd",
    [
        {"id": 9, "username": None, "is_active": True},
        {"id": True, "username": "eve", "is_active": True},
        {"id": "../../../status", "username": "eve", "is_active": True},
        {"id": 9, "username": "eve", "is_active": "yes"},
        {"id": 9, "username": "eve", "is_active": True, "groups": {"name": "devs"}},
        {"id": 9, "username": "../../etc", "is_active": True, "groups": [7, {"name": None}]},
    ],
    ids=str,
)
def test_odd_users_spoil_no_other(pulp: StartPulp, migrate: Migrate, tmp_path: Path, odd: dict[str, object]) -> None:
    fields = {**access_fields(), "users": [odd, pulp_user(2, "alice", "devs")]}
    file = tmp_path / "access.yaml"
    with pulp(PATHS, **fields) as running:
        migrate(running, dry_run=True, access=file)
        assert not any("status" in asked for asked in running.asked)
    proposed = read_config_file(file).value
    assert list(proposed["users"]) == ["alice"]
    assert proposed["groups"] == {"devs": ["alice"]}


def refusing(place: str, status: int = 403) -> Callable[[str, Query], ApiReply | None]:
    return lambda path, _query: denied(status) if path == f"{ROOT}{place}" else None


@pytest.mark.parametrize(
    ("fault", "said", "left"),
    [
        (refusing("roles/"), "roles of users and groups: ", set()),
        (refusing("users/"), "users: ", {"group:devs"}),
        (refusing("groups/", 401), "groups: ", {"user:alice", "user:bob-example-org", "user:reader"}),
        (refusing("users/2/roles/"), "roles of user Alice: ", {"group:devs", "user:bob-example-org", "user:reader"}),
        (
            lambda path, _query: (
                ApiReply({"results": [], "next": f"http://elsewhere.example{path}"})
                if path == f"{ROOT}users/2/roles/"
                else None
            ),
            "in a loop",
            {"group:devs", "user:bob-example-org", "user:reader"},
        ),
        (
            lambda path, query: denied() if path == f"{ROOT}users/" and query.get("offset") == "2" else None,
            "users: ",
            {"group:devs", "user:alice"},
        ),
    ],
    ids=["roles", "users", "groups", "one", "looped", "second-page"],
)
def test_what_may_not_be_read_is_told_and_the_rest_is_proposed(
    pulp: StartPulp,
    migrate: Migrate,
    tmp_path: Path,
    fault: Callable[[str, Query], ApiReply | None],
    said: str,
    left: set[str],
) -> None:
    file = tmp_path / "access.yaml"
    with pulp(PATHS, most=2, **access_fields()) as running:
        running.faults.append(fault)
        result = migrate(running, dry_run=True, access=file)
    assert set(outcomes(result).values()) == {"to migrate"}
    assert any(said in text for text in result.not_taken)
    rules = read_config_file(file).value["access"].values()
    assert {subject for one in rules for subject in one["subjects"]} == left


def test_a_namespace_and_the_distribution_of_its_name_are_one_pattern(
    pulp: StartPulp, migrate: Migrate, tmp_path: Path
) -> None:
    file = tmp_path / "access.yaml"
    given = {"users/2": [granted("namespace_consumer", of_namespace("alpine"))]}
    fields = {"alpine": {"registry_path": "pulp.example/default/alpine"}}
    with pulp({"alpine": True}, users=[pulp_user(2, "alice")], granted=given, fields=fields) as running:
        migrate(running, dry_run=True, access=file)
    assert read_config_file(file).value["access"] == {
        "default-alpine-pull": rule(["user:alice"], ["pull"], "default/alpine/**")
    }
