"""`entrepot remote`: records of upstreams, made, changed piece by piece, and deleted."""

import time
from pathlib import Path

from catalog.remotes.budget_stores import BudgetFile
from oci.remote.limits.budget import Budget
from tests.cli.commands import Entrepot
from tests.homes import new_home
from tests.servers import Certificate, Children


def test_a_record_is_made_changed_and_deleted(tmp_path: Path, children: Children, certificate: Certificate) -> None:
    entrepot = Entrepot(new_home(tmp_path / "home"), children)
    made = entrepot.json(
        "remote", "set", "index.docker.io", "--policy", "on_demand", "--ca-file", str(certificate.ca_file),
        "--header", "X-Key=env:KEY", "--concurrency", "3", "--rate", "100/6h", "--bandwidth", "10M",
        "--mirror", "mirror.example/hub", "--mirror", "other.example,digest-only",
    )  # fmt: skip
    assert (made["key"], made["policy"], made["headers"]) == ("docker.io", "on_demand", {"X-Key": "env:KEY"})
    assert (made["rate"], made["bandwidth"]) == ("100/6h", 10_000_000)
    assert made["mirrors"] == ["mirror.example/hub", "other.example,digest-only"]
    changed = entrepot.json("remote", "set", "docker.io", "--ca-file", "", "--description", "the Hub")
    assert (changed["ca_file"], changed["concurrency"], changed["created_at"]) == ("", 3, made["created_at"])
    shown = entrepot.json("remote", "show", "registry-1.docker.io")
    assert {name: shown[name] for name in changed} == changed
    assert shown["budget"]["limit"] is None
    told = Budget(limit=100, remaining=7, told_at=time.time() + 60, window=21600.0, closed_until=time.time() + 600)
    BudgetFile(tmp_path / "home", "docker.io").change(lambda _: told)
    assert entrepot.json("remote", "show", "docker.io")["budget"]["remaining"] == 7
    printed = entrepot("remote", "show", "docker.io").stdout
    assert "100 requests in 21600 s" in printed
    assert "paused until" in printed
    assert entrepot.json("remote", "list") == [changed]
    for option, value in (
        ("--header", "X-Key=secret"),
        ("--ca-file", "/absent"),
        ("--proxy", "http://me:secret@p:1"),
        ("--rate", "1"),
        ("--bandwidth", "x"),
    ):
        done = entrepot("remote", "set", "docker.io", option, value)
        assert done.returncode == 2
        assert "secret" not in done.stderr
    assert entrepot("remote", "delete", "docker.io").stdout == "deleted: docker.io\n"
    assert entrepot("remote", "show", "other.example").returncode == 1
    assert [event["action"] for event in entrepot.json("event", "list", "--name", "docker.io")] == [
        "delete-remote", "set-remote", "set-remote",
    ]  # fmt: skip
