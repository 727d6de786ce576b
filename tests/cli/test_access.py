"""The commands on accounts, rules and tokens, and what a registry over the same home makes of them."""

import subprocess
from pathlib import Path

import httpx
import pytest

from tests.cli.commands import COMMAND, Entrepot
from tests.conftest import EntrepotFactory
from tests.homes import new_home
from tests.servers import Children, run_command

PASSWORD = "correct horse"


@pytest.fixture
def entrepot(tmp_path: Path, children: Children) -> Entrepot:
    return Entrepot(new_home(tmp_path / "entrepot", administrator=True), children)


def with_input(entrepot: Entrepot, text: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return run_command([*COMMAND, *arguments, "--home", str(entrepot.home)], text=text)


def test_from_a_user_to_a_push(children: Children, tmp_path: Path, entrepot_server: EntrepotFactory) -> None:
    entrepot = Entrepot(tmp_path / "first", children)
    made = with_input(entrepot, f"{PASSWORD}\n", "user", "add", "alice", "--password-stdin")
    assert made.returncode == 0, made.stderr
    assert "admin-password" in made.stderr
    assert entrepot("group", "set", "developers", "alice").returncode == 0
    rule = entrepot.json("access", "allow", "group:developers", "pull,push", "team/**")
    assert [row["name"] for row in entrepot.json("user", "list")] == ["admin", "alice"]
    told = entrepot("access", "explain", "alice", "push", "team/app").stdout
    assert "allowed" in told
    assert rule["id"] in told
    assert entrepot.json("access", "explain", "alice", "delete", "team/app")["allowed"] is False
    server = entrepot_server(entrepot.home)
    with httpx.Client(base_url=server.url, trust_env=False, auth=("alice", PASSWORD)) as alice:
        assert alice.post("/v2/team/app/blobs/uploads/").status_code == 202
        assert alice.post("/v2/other/app/blobs/uploads/").status_code == 403
        assert entrepot("access", "remove", rule["id"]).returncode == 0
        assert alice.post("/v2/team/app/blobs/uploads/").status_code == 403
        assert with_input(entrepot, "another one\n", "user", "set", "alice", "--password-stdin").returncode == 0
        assert alice.get("/v2/").status_code == 401
    events = entrepot.json("event", "list")
    assert {"create-user", "set-group", "add-rule", "remove-rule", "change-account"} <= {
        one["action"] for one in events
    }
    assert PASSWORD not in str(events)


def test_a_robot_s_token_is_shown_once_and_can_be_revoked(entrepot: Entrepot, entrepot_server: EntrepotFactory) -> None:
    assert entrepot("user", "add", "ci", "--robot").returncode == 0
    assert entrepot("access", "allow", "robot:ci", "push", "team/*").returncode == 0
    made = entrepot.json("token", "add", "ci", "--scope", "push:team/app", "--expires", "12h", "--note", "nightly")
    server = entrepot_server(entrepot.home)
    with httpx.Client(base_url=server.url, trust_env=False, auth=("ci", made["secret"])) as robot:
        assert robot.post("/v2/team/app/blobs/uploads/").status_code == 202
        (listed,) = entrepot.json("token", "list", "ci")
        assert listed["scopes"] == ["push:team/app"]
        assert made["secret"] not in entrepot("token", "list").stdout
        assert entrepot("token", "revoke", made["id"]).returncode == 0
        assert robot.post("/v2/team/app/blobs/uploads/").status_code == 401


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("user", "add", "Bad Name", "--robot"), "invalid name"),
        (("user", "add", "admin", "--robot"), "already"),
        (("user", "delete", "nobody"), "no user or robot nobody"),
        (("group", "set", "g", "nobody"), "no user or robot nobody"),
        (("access", "allow", "group:none", "pull", "**"), "no group none"),
        (("access", "allow", "admin", "pull", "**"), "invalid subject"),
        (("access", "allow", "user:admin", "fly", "**"), "invalid actions"),
        (("access", "allow", "user:admin", "pull", "TEAM"), "invalid pattern"),
        (("access", "remove", "none"), "no rule none"),
        (("access", "explain", "ghost", "pull", "a"), "no user or robot ghost"),
        (("access", "trust", "t", "https://i.example", "admin", "--audience", "a", "--claim", "x"), "NAME=GLOB"),
        (("token", "add", "ghost"), "no user or robot ghost"),
        (("token", "add", "admin", "--expires", "soon"), "invalid age"),
        (("token", "add", "admin", "--scope", "everything"), "invalid scope"),
        (("token", "revoke", "none"), "no token none"),
    ],
)
def test_what_is_wrong_is_said(entrepot: Entrepot, arguments: tuple[str, ...], said: str) -> None:
    done = entrepot(*arguments)
    assert done.returncode in {1, 2}, done.stdout
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_a_password_too_short_or_not_to_be_asked_for(entrepot: Entrepot) -> None:
    assert "8 at least" in with_input(entrepot, "short\n", "user", "add", "bob", "--password-stdin").stderr
    assert "--password-stdin" in with_input(entrepot, "", "user", "add", "bob").stderr


def test_trusts_and_keys(entrepot: Entrepot) -> None:
    trust = ("access", "trust", "acme", "https://i.example", "admin", "--audience", "a", "--claim", "owner=acme")
    assert entrepot.json(*trust)["claims"] == {"owner": "acme"}
    assert "already" in entrepot(*trust).stderr
    assert entrepot("access", "untrust", "acme").returncode == 0
    first, second = (
        entrepot.json("access", "rotate-key")["key"],
        entrepot.json("access", "rotate-key", "--retire")["key"],
    )
    assert first != second
    assert entrepot("access", "list").stdout.splitlines()[1].startswith("administrator")
