"""Gates by trust policies by the command."""

import json
from datetime import UTC, datetime
from pathlib import Path

from catalog.audit import Event
from catalog.catalog import open_catalog
from catalog.settings import read_settings
from tests.cli.commands import Entrepot
from tests.homes import new_home
from tests.servers import Children

POLICY = {"version": 1, "rules": [{"paths": ["team/**"], "action": "deny"}]}


def test_gates_are_set_listed_and_unset_and_refusals_are_reported(tmp_path: Path, children: Children) -> None:
    entrepot = Entrepot(new_home(tmp_path / "entrepot"), children)
    file = tmp_path / "policy.json"
    file.write_text(json.dumps(POLICY))
    assert entrepot("policy", "gate", "team/**", "release").returncode == 1  # there is no such policy
    assert entrepot("policy", "set", "release", str(file)).returncode == 0
    made = entrepot.json("policy", "gate", "team/**", "release", "--at", "sync,pull", "--mode", "dry-run")
    assert (made["at"], made["mode"]) == ("pull,sync", "dry-run")
    assert entrepot("policy", "gate", "team/**", "release", "--at", "pull,delete").returncode == 2
    assert [one["pattern"] for one in entrepot.json("policy", "gates")] == ["team/**"]
    assert "delete that gate first" in entrepot("policy", "remove", "release").stderr
    detail = {"digest": "sha256:1", "policy": "release", "mode": "dry-run", "at": "pull", "requests": 3}
    with open_catalog(read_settings(home=entrepot.home)) as catalog:
        event = Event(datetime.now(UTC), "", "policy-dry-run", "team/app", reason="no", detail=detail)
        catalog.events.record([event, event])
        actions = {one.action for one in catalog.events.latest()}
    assert "set-policy-gate" in actions
    assert [(one["path"], one["requests"]) for one in entrepot.json("policy", "report", "--since", "1d")] == [
        ("team/app", 6)
    ]
    assert entrepot("policy", "ungate", "team/**", "release").returncode == 0
    assert entrepot("policy", "ungate", "team/**", "release").returncode == 1
    assert entrepot.json("policy", "gates") == []
