"""The conformance suite of the distribution specification's development head: Pass on every row, none switched off."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import yaml  # type: ignore[import-untyped]  # it carries no types

from tests.conftest import EntrepotFactory


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
