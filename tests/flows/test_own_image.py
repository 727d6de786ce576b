"""The image of `deploy/Containerfile`, built by our own flow.

No base image with Python can be had without a network, so the base is a shell whose `python` notes what it is asked to do.
What is tested is what the Containerfile says: stages, files, owner, environment, user and command. What pip installs is
tested by `tests/deploy/test_runtime_lock.py`.
"""

import io
import shutil
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest

from catalog.catalog import open_catalog
from catalog.settings import read_settings
from catalog.signing.stored import stage
from catalog.versions.changes import AddManifest, SetTag
from oci.memory import MemoryStore
from oci.pack import pack_image
from tests.cli.commands import Entrepot
from tests.conftest import EntrepotFactory
from tests.flows.test_build import shell_files
from tests.servers import ROOT, EntrepotServer, get, tool
from tests.unit.catalog.conftest import commit_to

PYTHON = """\
#!/bin/sh
case "$*" in
  "-m venv /opt/venv") install -d /opt/venv/bin && cp /usr/local/bin/python /opt/venv/bin/python ;;
  */runtime_lock.py*) echo "runtime lock" ;;
esac
echo "$0 $*" >> /opt/venv/calls
"""
IGNORED = shutil.ignore_patterns("__pycache__")


@pytest.fixture
def server(entrepot: Entrepot, entrepot_server: EntrepotFactory) -> EntrepotServer:
    """Our registry with the base image."""
    tool("buildah")
    files = {**shell_files("install", "cp"), "usr/local/bin/python": PYTHON}
    store = MemoryStore()
    image = pack_image(store, [files], config={"Env": ["PATH=/usr/local/bin:/bin"]})
    with open_catalog(read_settings(home=entrepot.home)) as catalog:
        stage(catalog, "base/python", store)
        commit_to(catalog, "base/python", AddManifest(image.descriptor), SetTag("v1", image.digest))
    started = entrepot_server(entrepot.home)
    entrepot.env["ENTREPOT_LISTEN"] = started.host
    return started


@pytest.fixture
def context(tmp_path: Path) -> Path:
    """The files of the project, as a checkout has them."""
    names = subprocess.run(
        ["git", "ls-files", "-z", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True
    )
    if names.returncode:
        pytest.skip("the project is no checkout of git")
    for name in filter(None, names.stdout.split("\0")):
        if (ROOT / name).is_file():
            target = tmp_path / "context" / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, target)
    return tmp_path / "context"


@pytest.mark.slow
def test_the_containerfile_builds(entrepot: Entrepot, server: EntrepotServer, context: Path) -> None:
    base = f"BASE={server.host}/base/python:v1"
    entrepot.json("build", "built/entrepot:v1", str(context), "--file", "deploy/Containerfile", "--build-arg", base)
    url = f"{server.url}/v2/built/entrepot"
    manifest = get(f"{url}/manifests/v1").json()
    config: dict[str, Any] = get(f"{url}/blobs/{manifest['config']['digest']}").json()["config"]
    assert config["User"] == "10001:10001"
    assert config["Entrypoint"] == ["/opt/venv/bin/entrepot"]
    assert config["Cmd"] == ["serve"]
    assert config["Volumes"] == {"/var/lib/entrepot": {}}
    environment = dict(text.split("=", 1) for text in config["Env"])
    assert environment["ENTREPOT_HOME"] == environment["HOME"] == "/var/lib/entrepot"
    assert environment["ENTREPOT_LISTEN"] == "0.0.0.0:5080"
    assert "ENTREPOT_ALLOW_PLAIN_HTTP" not in environment

    found: dict[str, tarfile.TarInfo] = {}
    calls = ""
    for layer in manifest["layers"]:
        with tarfile.open(fileobj=io.BytesIO(get(f"{url}/blobs/{layer['digest']}").content)) as tar:
            for member in tar:
                found[member.name.strip("/")] = member
                if member.name.strip("/") == "opt/venv/calls":
                    calls = tar.extractfile(member).read().decode()  # type: ignore[union-attr]
    assert "pip install --require-hashes --no-deps --requirement /build/runtime.lock" in calls
    assert "--no-build-isolation --editable /opt/entrepot" in calls
    home = found["var/lib/entrepot"]
    assert (home.uid, home.gid) == (10001, 10001)
    assert {"opt/entrepot/prefect.yaml", "opt/entrepot/cli/main.py", "opt/entrepot/deploy/healthcheck.py"} <= set(found)
    assert not [name for name in found if name.startswith(("opt/entrepot/tests", "opt/entrepot/.git", "build"))]
