"""The commands on hooks and subscriptions: what they make, show, refuse and keep secret."""

from pathlib import Path

import pytest

from cli.main import run
from tests.cli.commands import Entrepot
from tests.homes import new_home
from tests.receivers import receive
from tests.servers import Children


@pytest.fixture
def entrepot(tmp_path: Path, children: Children) -> Entrepot:
    return Entrepot(new_home(tmp_path / "entrepot"), children)


def test_hooks_are_made_shown_and_deleted(entrepot: Entrepot) -> None:
    made = entrepot.json(
        "hook", "create", "harbor", "registry.example/team", "--kind", "harbor", "--target", "mirror", "--tag", "v*",
        "--repository", "team/**", "--request", '{"policy": "on_demand"}', "--quiet", "1.5s", "--proof", "url",
    )  # fmt: skip
    secret = made.pop("secret")
    assert made.pop("url") == f"http://127.0.0.1:5080/api/v1/hooks/harbor?token={secret}"
    (listed,) = entrepot.json("hook", "list")
    assert listed == made
    assert (made["request"], made["tags"], made["quiet_seconds"]) == ({"policy": "on_demand"}, ["v*"], 1.5)
    shown = entrepot("hook", "show", "harbor")
    assert "0 events, 0 runs" in shown.stdout
    assert secret not in shown.stdout
    assert secret not in (entrepot.home / "event-records.json").read_text()
    assert (entrepot.home / "event-records.json").stat().st_mode & 0o777 == 0o600
    assert entrepot.json("hook", "delete", "harbor") == {"deleted": "harbor"}
    assert entrepot("hook", "show", "harbor").returncode == 1
    events = entrepot.json("event", "list", "--name", "harbor")
    assert [(one["action"], one["actor"]) for one in events] == [
        ("delete-hook", "command line"),
        ("create-hook", "command line"),
    ]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--request", "{"], "not JSON"),
        (["--request", '{"polcy": "on_demand"}'], "polcy"),
        (["--request", '{"policy": "sometimes"}'], "policy"),
        (["--request", '{"mode": "mirror"}'], "needs whole"),
        (["--request", '{"remote": "evil.example/x"}'], "come from the event"),
        (["--tag", "re:("], "regular expression"),
        (["--deployment", "x"], "FLOW/DEPLOYMENT"),
    ],
)
def test_a_hook_that_could_not_work_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], said: str
) -> None:
    assert run(["hook", "create", "up", "registry.example", *options, "--home", str(tmp_path / "home")]) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "home" / "event-records.json").exists()


def test_subscriptions_are_made_tried_and_deleted(entrepot: Entrepot, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("hush")
    with receive() as receiver:
        made = entrepot.json(
            "subscription", "create", f"{receiver.url}/x?token=hidden", "--event", "act.*", "--repository", "team/**",
            "--secret-file", str(tmp_path / "secret"), "--give-up", "2h", "--format", "cloudevents",
        )  # fmt: skip
        assert (made["events"], made["repositories"], made["give_up_hours"]) == (["act.*"], ["team/**"], 2.0)
        assert entrepot.json("subscription", "test", made["id"]) == {"id": made["id"], "status": 200}
        (one,) = receiver.received
        assert (one.path, one.json["type"]) == ("/x?token=hidden", "entrepot.test")
        assert one.headers["x-hub-signature-256"].startswith("sha256=")
        assert "hidden" not in entrepot("subscription", "list").stdout
        receiver.answer = lambda _: (503, {}, b"")
        failed = entrepot("subscription", "test", made["id"])
        assert (failed.returncode, "answered 503" in failed.stderr) == (1, True)
    (tmp_path / "secret").unlink()
    missing = entrepot("subscription", "test", made["id"])
    assert missing.returncode == 2
    assert "secret cannot be read" in missing.stderr
    assert entrepot.json("subscription", "show", made["id"])["delivered"] == 0
    assert entrepot.json("subscription", "delete", made["id"]) == {"deleted": made["id"]}
    assert entrepot("subscription", "create", "https://user:hush@receiver.example/").returncode == 2
