"""The conformance suites of the distribution specification: Pass on every row of the development head's, none switched off; the
released one (1.1) passes too, but for what is the other half of something that passed."""

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import yaml  # type: ignore[import-untyped]  # it carries no types

from tests.conftest import EntrepotFactory

THE_OTHER_HALF = {
    "Get tag name from environment",  # there was a push
    "Populate registry with test tags (no push)",
    "Cross-mounting of nonexistent blob should yield session id",  # the blob was mounted
    "Cross-mounting without from, and automatic content discovery disabled should return a 202",  # it is enabled
}


MENDED_IN_THE_RELEASE = {("Content Discovery", "Delete layer blob created in setup")}
"""Release 1.1.1 lets go of the manifests first that need the blob. Commits before it, all that some module proxies have, do
not, and a blob that is needed is kept."""


def test_every_row_passes(entrepot_server: EntrepotFactory, tool: Callable[[str], str], tmp_path: Path) -> None:
    suite = tool("conformance")
    server = entrepot_server(env={"ENTREPOT_SPARSE_REPOSITORIES": "conformance/*"})
    env = {
        "OCI_REGISTRY": server.host,
        "OCI_TLS": "disabled",
        "OCI_REPO1": "conformance/one",
        "OCI_REPO2": "conformance/two",
        "OCI_USERNAME": server.username,
        "OCI_PASSWORD": server.password,
        "OCI_VERSION": "dev",
        "OCI_DATA_SPARSE": "true",
        "OCI_RESULTS_DIR": str(tmp_path / "results"),
    }
    done = subprocess.run(
        [suite], env={**os.environ, **env}, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False
    )
    results = yaml.safe_load((tmp_path / "results" / "results.yaml").read_text())
    rows = {**results["apis"], **results["data"]}
    assert {name: said for name, said in rows.items() if said != "Pass"} == {}, (
        done.stdout[-3000:] + done.stderr[-3000:]
    )
    assert (len(results["apis"]), len(results["data"])) == (28, 24)
    assert done.returncode == 0


def test_the_released_suite_passes(
    entrepot_server: EntrepotFactory, tool: Callable[[str], str], tmp_path: Path
) -> None:
    suite, server = tool("conformance-released"), entrepot_server()
    env = {
        "OCI_ROOT_URL": server.url,
        "OCI_NAMESPACE": "conformance/one",
        "OCI_CROSSMOUNT_NAMESPACE": "conformance/two",
        "OCI_AUTOMATIC_CROSSMOUNT": "1",
        "OCI_USERNAME": server.username,
        "OCI_PASSWORD": server.password,
        "OCI_TEST_PULL": "1",
        "OCI_TEST_PUSH": "1",
        "OCI_TEST_CONTENT_DISCOVERY": "1",
        "OCI_TEST_CONTENT_MANAGEMENT": "1",
        "OCI_REPORT_DIR": str(tmp_path),
    }
    command = [suite, "--ginkgo.json-report", str(tmp_path / "report.json")]
    done = subprocess.run(
        command, env={**os.environ, **env}, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False
    )
    assert (tmp_path / "report.json").exists(), done.stdout[-3000:] + done.stderr[-3000:]
    (report,) = json.loads((tmp_path / "report.json").read_text())
    specs = [spec for spec in report["SpecReports"] if spec["LeafNodeType"] == "It"]
    outcomes = {(spec["ContainerHierarchyTexts"][1], spec["LeafNodeText"]): spec["State"] for spec in specs}
    assert {name for (_, name), outcome in outcomes.items() if outcome == "skipped"} == THE_OTHER_HALF
    failed = {key for key, outcome in outcomes.items() if outcome not in {"passed", "skipped"}}
    assert failed <= MENDED_IN_THE_RELEASE, done.stdout[-6000:]
    assert len(specs) > 60
