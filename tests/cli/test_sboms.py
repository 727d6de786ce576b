"""`entrepot sbom` as a command: attached by us and by oras and cosign, listed, shown, compared, searched and downloaded."""

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from catalog.catalog import open_catalog
from catalog.settings import read_settings
from tests.cli.commands import Entrepot
from tests.conftest import EntrepotFactory
from tests.servers import Children, Client
from tests.unit.catalog.conftest import push_image

NAME = "team/app"
VECTORS = Path(__file__).parents[1] / "vectors" / "sbom"
SYFT, TRIVY = VECTORS / "syft-spdx-2.3.json", VECTORS / "trivy-cyclonedx-1.5.json"


@pytest.fixture
def entrepot(tmp_path: Path, children: Children) -> Entrepot:
    """A home with two images."""
    home = tmp_path / "entrepot"
    with open_catalog(read_settings(home=home)) as catalog:
        for tag in ("v1", "v2"):
            push_image(catalog, NAME, tag, tag)
    return Entrepot(home, children)


def test_attach_list_show_diff_search_and_download(entrepot: Entrepot, tmp_path: Path) -> None:
    first = entrepot.json("sbom", "attach", f"{NAME}:v1", str(SYFT))
    again = entrepot.json("sbom", "attach", f"{NAME}:v1", str(SYFT))
    assert (first["changed"], again["changed"]) == (True, False)
    entrepot.json("sbom", "attach", f"{NAME}:v2", str(TRIVY))
    (listed,) = entrepot.json("sbom", "list", f"{NAME}:v1")
    assert (listed["format"], listed["artifact_type"], listed["state"]) == ("SPDX-2.3", "application/spdx+json", "read")
    shown = entrepot.json("sbom", "show", f"{NAME}:v1")
    assert len(shown["packages"]) == listed["packages"] > 0
    rows = list(csv.DictReader(io.StringIO(entrepot("sbom", "show", f"{NAME}:v1", "--format", "csv").stdout)))
    assert [row["name"] for row in rows] == [one["name"] for one in shown["packages"]]
    table = entrepot("sbom", "show", f"{NAME}:v1").stdout.splitlines()
    assert len(table) == 1 + len(rows)
    changes = entrepot.json("sbom", "diff", f"{NAME}:v1", f"{NAME}:v2")["changes"]
    assert {one["change"] for one in changes} >= {"added", "removed"}
    one = next(one for one in shown["packages"] if one["type"])
    found = entrepot.json("sbom", "search", one["package"], "--version", one["version"])
    assert [(row["path"], row["tags"], row["sbom"]) for row in found] == [(NAME, "v1", listed["sbom"])]
    assert not entrepot.json("sbom", "search", one["package"], "--version", f"<{one['version']}")
    entrepot("sbom", "download", f"{NAME}:v1", "-o", str(tmp_path / "out.json"))
    assert (tmp_path / "out.json").read_bytes() == SYFT.read_bytes()
    assert entrepot("sbom", "download", f"{NAME}@{listed['sbom']}").stdout == SYFT.read_text()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"artifacts": []}', "expected a document in SPDX JSON"),
        ("<bom/>", "expected a document in SPDX JSON"),
        (None, "cannot read"),
    ],
)
def test_what_is_no_sbom_is_not_attached(entrepot: Entrepot, tmp_path: Path, text: str | None, message: str) -> None:
    file = tmp_path / "sbom.json"
    if text is not None:
        file.write_text(text)
    done = entrepot("sbom", "attach", f"{NAME}:v1", str(file))
    assert done.returncode != 0
    assert message in done.stderr
    assert entrepot.json("sbom", "list", f"{NAME}:v1") == []


@pytest.mark.slow
def test_oras_and_cosign_both_ways(
    entrepot: Entrepot, entrepot_server: EntrepotFactory, tool: Callable[[str], str], tmp_path: Path
) -> None:
    env = {"HOME": str(tmp_path), "DOCKER_CONFIG": str(tmp_path / "docker"), "COSIGN_PASSWORD": ""}
    oras, cosign = Client(tool("oras"), (), env), Client(tool("cosign"), (), env)
    entrepot.json("sbom", "attach", f"{NAME}:v1", str(SYFT))
    server = entrepot_server(entrepot.home)
    one, two = (f"{server.host}/{NAME}:{tag}" for tag in ("v1", "v2"))
    ours = json.loads(oras("discover", "--plain-http", "--format", "json", one).stdout)["manifests"]
    assert [found["artifactType"] for found in ours] == ["application/spdx+json"]
    oras(
        "pull",
        "--plain-http",
        "--allow-path-traversal",
        "-o",
        str(tmp_path / "out"),
        f"{one.rpartition(':')[0]}@{ours[0]['digest']}",
    )
    login = ["--plain-http", "-u", server.username, "-p", server.password]
    oras(
        "attach", *login, "--disable-path-validation", "--artifact-type", "application/vnd.cyclonedx+json", two,
        f"{TRIVY}:application/vnd.cyclonedx+json",
    )  # fmt: skip
    assert not entrepot.json("sbom", "attach", f"{NAME}:v2", str(TRIVY))["changed"]
    cosign("generate-key-pair", "--output-key-prefix", str(tmp_path / "key"))
    cosign(
        "attest", "--key", str(tmp_path / "key.key"), "--type", "spdxjson", "--predicate", str(SYFT), "--tlog-upload=false",
        "--use-signing-config=false", "--allow-http-registry", "--yes", "--registry-username", server.username,
        "--registry-password", server.password, two,
    )  # fmt: skip
    listed = {found["format"]: found for found in entrepot.json("sbom", "list", f"{NAME}:v2")}
    assert sorted(listed) == ["CycloneDX-1.5", "SPDX-2.3"]
    assert (listed["CycloneDX-1.5"]["signer"], listed["SPDX-2.3"]["signer"][:3]) == ("", "key")
    taken = entrepot("sbom", "download", f"{NAME}:v2", "--format", "spdx")
    assert json.loads(taken.stdout) == json.loads(SYFT.read_text())
