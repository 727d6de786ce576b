"""The alert rules for Prometheus: `promtool` runs their tests, and each metric that they name is one that the registry has."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml  # type: ignore[import-untyped]  # it carries no types

from registry_api.metrics.families import FAMILIES, SECONDS, full_name
from tests.dashboard import DASHBOARD, dashboard_queries
from tests.servers import tool

FOLDER = DASHBOARD.parent
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
    panels = json.loads(DASHBOARD.read_text())["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    rules = [{"record": f"panel:{number}", "expr": _filled(query)} for number, query in enumerate(dashboard_queries())]
    file = tmp_path / "rules.yaml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}))
    done = subprocess.run([tool("promtool"), "check", "rules", str(file)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


_MATCHED = re.compile(r"\b(entrepot_\w+)\{((?:[^\"}]|\"[^\"]*\")*)\}")
_LABEL = re.compile(r"(\w+)\s*(?:=~|!~|!=|=)\s*\"[^\"]*\"")


@pytest.mark.parametrize("query", dashboard_queries())
def test_each_label_of_a_query_is_one_of_its_metric(query: str) -> None:
    labels = {full_name(one): set(one.labels) for one in FAMILIES}
    labels[f"{full_name(SECONDS)}_bucket"] = {*SECONDS.labels, "le"}
    given = {"instance", "job"}  # by Prometheus
    grouped = {label.strip() for listed in re.findall(r"\bby \(([^)]*)\)", query) for label in listed.split(",")}
    for name, matchers in _MATCHED.findall(query):
        assert {*_LABEL.findall(matchers), *grouped} - given <= labels[name], query


def _filled(query: str) -> str:
    return query.replace("$__rate_interval", "5m").replace("$instance", ".*")
