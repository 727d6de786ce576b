"""The alert rules for Prometheus: `promtool` runs their tests, and each metric that they name is one that the registry has."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml  # type: ignore[import-untyped]  # it carries no types

from registry_api.metrics.families import FAMILIES, SECONDS, full_name
from tests.servers import ROOT, tool

FOLDER = ROOT / "deploy" / "prometheus"
RULES = FOLDER / "entrepot.rules.yaml"
_NAME = re.compile(r"\bentrepot_[a-z_]+")


def test_each_alert_comes_when_it_should_and_not_before(tmp_path: Path) -> None:
    for file in (RULES, Path(__file__).with_name("alerts.yaml")):
        shutil.copy(file, tmp_path)
    done = subprocess.run(
        [tool("promtool"), "test", "rules", str(tmp_path / "alerts.yaml")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("file", sorted(FOLDER.iterdir()), ids=lambda file: file.name)
def test_each_metric_named_is_one_that_there_is(file: Path) -> None:
    known = {full_name(one) for one in FAMILIES} | {
        f"{full_name(SECONDS)}_{part}" for part in ("bucket", "sum", "count")
    }
    named = set(_NAME.findall(file.read_text()))
    assert named
    assert named <= known


def test_each_query_of_the_dashboard_is_one_that_prometheus_reads(tmp_path: Path) -> None:
    panels = json.loads((FOLDER / "dashboard.json").read_text())["panels"]
    queries = [target["expr"] for panel in panels for target in panel["targets"]]
    assert len({panel["id"] for panel in panels}) == len(panels)
    rules = [{"record": f"panel:{number}", "expr": _filled(query)} for number, query in enumerate(queries)]
    file = tmp_path / "rules.yaml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}))
    done = subprocess.run([tool("promtool"), "check", "rules", str(file)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def _filled(query: str) -> str:
    return query.replace("$__rate_interval", "5m").replace("$instance", ".*")
