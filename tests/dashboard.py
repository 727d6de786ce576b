"""The queries of the dashboard for Grafana that `deploy/` has."""

import json

from tests.servers import ROOT

DASHBOARD = ROOT / "deploy" / "prometheus" / "dashboard.json"


def dashboard_queries() -> list[str]:
    """Return the query of each target of each panel, in order."""
    panels = json.loads(DASHBOARD.read_text())["panels"]
    return [target["expr"] for panel in panels for target in panel["targets"]]
