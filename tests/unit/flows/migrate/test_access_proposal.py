"""A proposal of users and rules says no more than the source does, and leaves out what could be another person."""

from pathlib import Path

import pytest

from flows.migrate.access_proposal import check_proposal_file, propose_access, write_proposal
from oci.errors import LocalError, NameInvalid
from oci.remote.discovery.foreign_access import ForeignAccess, ForeignAction, ForeignRole

PULL: tuple[ForeignAction, ...] = ("pull",)
PATHS = ["team/app", "team/tool"]


def same(name: str) -> str:
    return name


def test_names_that_would_be_one_here_are_not_mixed_up() -> None:
    found = ForeignAccess(
        [
            ForeignRole("user", "team-ci", "guest", PULL, "team"),
            ForeignRole("robot", "robot$team+ci", "robot account", ("pull", "push"), "team"),
            ForeignRole("group", "team-ci", "guest", PULL, "team"),
            ForeignRole("user", "$$$", "guest", PULL, "team"),
            ForeignRole("user", "x" * 65, "guest", PULL, "team"),
        ]
    )
    made = propose_access(found, same, PATHS)
    assert made.document["users"] == {"team-ci": {"password": "env:TEAM_CI_PASSWORD"}}
    assert made.document["access"] == {
        "team-pull": {"subjects": ["group:team-ci", "user:team-ci"], "actions": ["pull"], "paths": ["team/**"]}
    }
    assert made.document["groups"] == {"team-ci": []}
    assert len(made.not_taken) == 3
    assert "robot robot$team+ci: it would be team-ci here, and so is user team-ci" in made.not_taken


def test_roles_of_what_is_not_migrated_are_left_out() -> None:
    found = ForeignAccess(
        [
            ForeignRole("user", "alice", "read", PULL, "team", "team/app"),
            ForeignRole("user", "bob", "read", PULL, "team", "team/other"),
            ForeignRole("user", "carol", "guest", PULL, "secret"),
        ],
        {"unused": [("user", "dave")]},
    )
    made = propose_access(found, lambda name: f"moved/{name}", PATHS)
    assert (made.document["users"], made.document["groups"]) == ({"alice": {"password": "env:ALICE_PASSWORD"}}, {})
    assert made.document["access"] == {
        "moved-team-app-pull": {"subjects": ["user:alice"], "actions": ["pull"], "paths": ["moved/team/app"]}
    }


def test_rules_of_like_names_have_ids_of_their_own_and_a_project_may_have_no_name_here() -> None:
    def target(name: str) -> str:
        if name == "bad":
            raise NameInvalid("no name")
        return name

    roles = [ForeignRole("user", "alice", "read", PULL, "team", path) for path in ("team/a-b", "team/a/b")]
    made = propose_access(
        ForeignAccess([*roles, ForeignRole("user", "alice", "guest", PULL, "bad")]),
        target,
        ["team/a-b", "team/a/b", "bad/x"],
    )
    document = made.document["access"]
    assert isinstance(document, dict)
    assert sorted(document) == ["team-a-b-pull", "team-a-b-pull-2"]
    assert made.not_taken == ("guest of alice: bad has no name here",)


def test_the_file_is_new_and_only_its_owner_s(tmp_path: Path) -> None:
    made = propose_access(ForeignAccess([ForeignRole("user", "alice", "guest", PULL, "team")]), same, PATHS)
    file = tmp_path / "access\nusers: {mallory: {}}.yaml"
    write_proposal(made, file, "harbor.example")
    lines = file.read_text().splitlines()
    assert file.stat().st_mode & 0o777 == 0o600
    assert not any(line.startswith("users: {mallory") for line in lines)
    with pytest.raises(LocalError, match="is there already"):
        check_proposal_file(file)
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(LocalError, match="is there already"):
        check_proposal_file(tmp_path / "link")
    with pytest.raises(LocalError, match="cannot be written"):
        write_proposal(made, tmp_path / "link", "harbor.example")
    with pytest.raises(LocalError, match="is no folder"):
        check_proposal_file(tmp_path / "none" / "file")
    assert not (tmp_path / "elsewhere").exists()
