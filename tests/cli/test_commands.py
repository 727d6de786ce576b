"""The commands that ask the catalogue, and how all of them end: processes of their own, over one filled home."""

import json
import socket
from pathlib import Path

import pytest

from catalog.catalog import Catalog
from catalog.settings import read_settings
from catalog.versions.changes import AddManifest, RemoveTag, SetTag
from oci.digest import Digest
from tests.cli.commands import Entrepot
from tests.servers import Children
from tests.unit.catalog.conftest import commit_to, stage_image

NAME = "team/app"


@pytest.fixture(scope="module")
def digests() -> list[Digest]:
    """The images of versions 1 and 2, once the home is filled."""
    return []


@pytest.fixture(scope="module")
def entrepot(tmp_path_factory: pytest.TempPathFactory, module_children: Children, digests: list[Digest]) -> Entrepot:
    """Three versions: `a` set; `b` set and `a` moved; `b` removed."""
    home = tmp_path_factory.mktemp("home")
    catalog = Catalog(read_settings(home=home))
    one, two = (stage_image(catalog, NAME, str(number), ("shared", str(number))) for number in range(2))
    commit_to(catalog, NAME, AddManifest(one), SetTag("a", one.digest))
    commit_to(catalog, NAME, AddManifest(two), SetTag("a", two.digest), SetTag("b", two.digest), flow_run_id="run-2")
    commit_to(catalog, NAME, RemoveTag("b"))
    catalog.close()
    digests += [one.digest, two.digest]
    return Entrepot(home, module_children)


def lines(entrepot: Entrepot, *arguments: str) -> list[list[str]]:
    """The cells of what a command prints."""
    done = entrepot(*arguments)
    assert done.returncode == 0, done.stderr
    return [line.split() for line in done.stdout.splitlines() if line]


def test_repository_list_and_show(entrepot: Entrepot) -> None:
    (row,) = entrepot.json("repository", "list")
    assert (row["name"], row["version"], row["tags"], row["manifests"]) == (NAME, 3, 1, 2)
    shown = entrepot.json("repository", "show", NAME)
    assert shown["latest"]["number"] == 3
    heads, cells = lines(entrepot, "repository", "list")
    assert heads[:3] == ["NAME", "VERSION", "TAGS"]
    assert cells[:3] == [NAME, "3", "1"]
    assert ["version", "3"] in lines(entrepot, "repository", "show", NAME)


def test_version_list_and_show(entrepot: Entrepot, digests: list[Digest]) -> None:
    listed = entrepot.json("version", "list", NAME)
    assert [(row["number"], row["flow_run_id"]) for row in listed] == [(3, ""), (2, "run-2"), (1, "")]
    assert "run-2" in lines(entrepot, "version", "list", NAME)[2]
    shown = entrepot.json("version", "show", NAME, "2")
    tags = {
        (change["action"], change["tag"], change["digest"]) for change in shown["changes"] if change["kind"] == "tag"
    }
    assert ("add", "a", digests[1]) in tags
    assert ("add", "b", digests[1]) in tags
    assert entrepot.json("version", "show", NAME)["number"] == 3
    assert ["flow", "run", "run-2"] in lines(entrepot, "version", "show", NAME, "2")


def test_version_diff(entrepot: Entrepot, digests: list[Digest]) -> None:
    found = entrepot.json("version", "diff", NAME, "1", "3")
    assert found["tags_moved"] == {"a": {"from": digests[0], "to": digests[1]}}
    assert (found["tags_added"], found["tags_removed"], found["old"], found["new"]) == ({}, {}, 1, 3)
    assert found["bytes_added"] > 0
    assert entrepot.json("version", "diff", NAME, "0", "1")["tags_added"] == {"a": digests[0]}
    assert lines(entrepot, "version", "diff", NAME, "2")[1] == ["removed", "b", digests[1]]


def test_tag_list(entrepot: Entrepot, digests: list[Digest]) -> None:
    assert {row["tag"]: row["digest"] for row in entrepot.json("tag", "list", NAME)["tags"]} == {"a": digests[1]}
    before = entrepot.json("tag", "list", NAME, "--version", "2")
    assert [row["tag"] for row in before["tags"]] == ["a", "b"]
    assert lines(entrepot, "tag", "list", NAME)[1][:2] == ["a", digests[1]]


def test_query(entrepot: Entrepot) -> None:
    sql = "SELECT number, operation FROM versions ORDER BY number"
    assert [row["number"] for row in entrepot.json("query", sql)] == [1, 2, 3]
    assert [row[0] for row in lines(entrepot, "query", sql)] == ["number", "1", "2", "3"]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("repository", "show", "team/none"), 1, "team/none"),
        (("version", "list", "team/none"), 1, "team/none"),
        (("version", "show", NAME, "9"), 1, "9"),
        (("version", "diff", NAME, "1", "9"), 1, "9"),
        (("tag", "list", NAME, "--version", "9"), 1, "9"),
        (("query", "DELETE FROM versions"), 2, "SELECT"),
        (("query", "SELECT nothing FROM versions"), 2, "nothing"),
        (("query", "SELECT * FROM records", "--max-rows", "1"), 2, "rows"),
        (("sync", "no reference at all"), 2, "reference"),
        (("sync", "registry.example/team/app", "NOT A NAME"), 2, "repository"),
        (("serve", "--listen", "nonsense"), 2, "listen"),
        (("serve", "--listen", "0.0.0.0:0"), 2, "--allow-plain-http"),
        (("up", "--listen", "0.0.0.0:0"), 2, "TLS"),
        (("serve", "--tls-cert", "/nowhere.pem"), 2, "--tls-key"),
        (("unknown",), 2, "unknown"),
    ],
    ids=lambda value: " ".join(value[:4]) if isinstance(value, tuple) else "",
)
def test_what_is_wrong_is_told_with_an_exit_code(
    entrepot: Entrepot, arguments: tuple[str, ...], code: int, said: str
) -> None:
    done = entrepot(*arguments)
    assert done.returncode == code, done.stderr
    assert said.lower() in done.stderr.lower()
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_an_error_for_programs(entrepot: Entrepot) -> None:
    done = entrepot("repository", "show", "team/none", "--json")
    assert done.returncode == 1
    error = json.loads(done.stdout)["error"]
    assert (error["code"], error["retryable"]) == ("NAME_UNKNOWN", False)
    assert "team/none" in error["message"]


def test_a_home_without_a_catalogue_is_told(entrepot: Entrepot, tmp_path: Path) -> None:
    done = entrepot("repository", "list", "--home", str(tmp_path / "none"))
    assert done.returncode == 1
    assert "entrepot sync" in done.stderr
    assert not (tmp_path / "none").exists()


def test_a_port_that_is_taken_is_told(entrepot: Entrepot) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        for command in ("serve", "up"):
            done = entrepot(command, "--listen", address)
            assert done.returncode != 0
            assert address.rpartition(":")[2] in done.stderr
            assert "Traceback" not in done.stderr


def test_help_names_every_command(entrepot: Entrepot) -> None:
    for arguments in ((), ("repository",), ("version",), ("tag",), ("sync",), ("up",), ("serve",), ("query",)):
        done = entrepot(*arguments, "--help")
        assert done.returncode == 0
        assert "--help" in done.stdout


def test_inspect_and_tags_of_a_version(entrepot: Entrepot, digests: list[Digest]) -> None:
    shown = entrepot.json("inspect", f"{NAME}:a")
    assert (shown["digest"], shown["kind"], shown["served_at"]) == (digests[1], "image", [NAME])
    assert len(shown["parts"]) == 2
    told = entrepot("inspect", NAME)
    assert told.returncode == 0, told.stderr
    assert digests[1] in told.stdout
    assert "MADE BY" in told.stdout
    assert [one["tag"] for one in entrepot.json("tag", "list", f"{NAME}@2")["tags"]] == ["a", "b"]
    both = entrepot("tag", "list", f"{NAME}@2", "--version", "1")
    assert both.returncode == 2
    assert "two versions" in both.stderr


def test_an_empty_table_is_said_to_be_empty(entrepot: Entrepot) -> None:
    done = entrepot("hook", "list")
    assert (done.returncode, done.stderr) == (0, "(0 rows)\n")


def test_a_mistyped_setting_is_told(entrepot: Entrepot) -> None:
    done = entrepot("repository", "list", env={"ENTREPOT_LISTN": "127.0.0.1:5000"})
    assert done.returncode == 0
    assert (
        done.stderr == "warning: ENTREPOT_LISTN is no setting and counts for nothing; did you mean ENTREPOT_LISTEN?\n"
    )
