"""Building with real buildah: stages, RUN, a base from our own registry; provenance; failures that say where."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from catalog.catalog import open_catalog
from catalog.settings import read_settings
from catalog.signing.stored import stage
from catalog.versions.changes import AddManifest, SetTag
from flows.image_build.buildah import line_of
from oci.memory import MemoryStore
from oci.pack import pack_image
from tests.cli.commands import Entrepot, PrefectServer
from tests.conftest import EntrepotFactory
from tests.servers import Client, EntrepotServer, get, tool
from tests.unit.catalog.conftest import commit_to

CONTAINERFILE = """\
ARG GREETING=hello
FROM {host}/base/sh:v1 AS maker
ARG GREETING
RUN echo "$GREETING from a stage" > /made

FROM {host}/base/sh:v1
COPY --from=maker /made /greeting
COPY file /copied
RUN read line < /greeting && \\
    echo "read: $line" > /result
"""


def shell_files(*commands: str) -> dict[str, bytes | str]:
    """A shell, further commands and the libraries that these are linked with, from this machine."""
    programs = {"bin/sh": shutil.which("dash") or "/bin/sh", **{f"bin/{name}": tool(name) for name in commands}}
    linked = subprocess.run(["ldd", *programs.values()], capture_output=True, text=True, check=True).stdout
    libraries = {Path(path) for path in re.findall(r"(/\S+)(?= \()", linked)}
    files = {str(path).lstrip("/"): path.read_bytes() for path in libraries}
    return {**{name: Path(path).read_bytes() for name, path in programs.items()}, "tmp/": b"", **files}


@pytest.fixture
def server(entrepot: Entrepot, entrepot_server: EntrepotFactory) -> EntrepotServer:
    """Our registry, with an image base/sh:v1 that has a shell; builds find it by the settings' address."""
    tool("buildah")
    store = MemoryStore()
    image = pack_image(store, [shell_files()], config={"Cmd": ["/bin/sh"], "Env": ["PATH=/bin"]})
    with open_catalog(read_settings(home=entrepot.home)) as catalog:
        stage(catalog, "base/sh", store)
        commit_to(catalog, "base/sh", AddManifest(image.descriptor), SetTag("v1", image.digest))
    started = entrepot_server(entrepot.home)
    entrepot.env["ENTREPOT_LISTEN"] = started.host
    return started


@pytest.fixture
def context(tmp_path: Path, server: EntrepotServer) -> Path:
    folder = tmp_path / "context"
    folder.mkdir()
    (folder / "Containerfile").write_text(CONTAINERFILE.format(host=server.host))
    (folder / "file").write_text("copied\n")
    return folder


@pytest.mark.slow
def test_two_stages_pulled_by_podman_with_provenance(
    entrepot: Entrepot, prefect: PrefectServer, server: EntrepotServer, context: Path, podman: Client
) -> None:
    result = entrepot.json("build", "built/app:v1", str(context), "--build-arg", "GREETING=good day")
    assert (result["version"], result["tags"], result["manifests"]["added"]) == (1, {"v1": "added"}, 2)
    names = {run["name"].rpartition("-")[0] for run in prefect.task_runs(result["flow_run_id"])}
    assert names == {"build-image", "commit-version"}
    reference = f"{server.host}/built/app:v1"
    podman("pull", "--tls-verify=false", reference)
    mounted = Path(podman("image", "mount", reference).stdout.strip())
    assert (mounted / "greeting").read_text() == "good day from a stage\n"
    assert (mounted / "result").read_text() == "read: good day from a stage\n"
    assert (mounted / "copied").read_text() == "copied\n"
    assert not (mounted / "made").exists()
    podman("image", "umount", "--all")

    digest = get(f"{server.url}/v2/built/app/manifests/v1").headers["docker-content-digest"]
    (referrer,) = get(f"{server.url}/v2/built/app/referrers/{digest}").json()["manifests"]
    assert referrer["artifactType"] == "application/vnd.in-toto+json"
    layer = get(f"{server.url}/v2/built/app/manifests/{referrer['digest']}").json()["layers"][0]["digest"]
    statement = get(f"{server.url}/v2/built/app/blobs/{layer}").json()
    assert statement["predicateType"] == "https://slsa.dev/provenance/v1"
    assert statement["subject"][0]["digest"] == {"sha256": digest.removeprefix("sha256:")}
    definition = statement["predicate"]["buildDefinition"]
    assert definition["externalParameters"]["arguments"] == {"GREETING": "good day"}
    base = get(f"{server.url}/v2/base/sh/manifests/v1").headers["docker-content-digest"]
    assert {"sha256": base.removeprefix("sha256:")} in [one["digest"] for one in definition["resolvedDependencies"]]
    assert statement["predicate"]["runDetails"]["metadata"]["invocationId"] == result["flow_run_id"]
    assert list((entrepot.home / "build").glob("build-*")) == []

    staged = entrepot.json("build", "built/app:stage", str(context), "--target", "maker")
    assert staged["tags"] == {"stage": "added"}


@pytest.mark.slow
def test_what_is_wrong_says_where_and_changes_nothing(
    entrepot: Entrepot, server: EntrepotServer, context: Path, tmp_path: Path
) -> None:
    base = f"FROM {server.host}/base/sh:v1\n"
    files = {
        "failing": (base + "# a remark\nRUN echo so far && \\\n    exit 7\n", ["line 3", "exit 7", "so far"]),
        "missing-base": (f"FROM {server.host}/base/none:v1\n", ["base/none"]),
        "missing-file": (base + "COPY nothing /\n", ["line 2: COPY nothing /"]),
        "nonsense": (base + "NONSENSE\n", ["NONSENSE"]),
    }
    for name, (text, said) in files.items():
        (context / name).write_text(text)
        done = entrepot("build", "built/bad:v1", str(context), "--file", name)
        assert done.returncode == 1, name
        assert "Traceback" not in done.stderr
        for part in said:
            assert part.lower() in done.stderr.lower(), (name, done.stderr)
    empty = tmp_path / "empty"
    empty.mkdir()
    for arguments, part in (
        (("built/bad:v1", str(empty)), "there is no Containerfile or Dockerfile"),
        (("built/bad:v1", str(tmp_path / "none")), "is no folder"),
        (("built/bad:v1", str(context), "--build-arg", "X"), "--build-arg: expected NAME=VALUE"),
        (("Built:v1", str(context)), "invalid repository name"),
    ):
        done = entrepot("build", *arguments)
        assert (done.returncode, part in done.stderr) == (2, True), done.stderr
    assert [row["name"] for row in entrepot.json("repository", "list")] == ["base/sh"]
    assert json.loads(entrepot("build", "b/c", str(empty), "--json").stdout)["error"]["kind"] == "InvalidInput"


def test_the_line_of_a_step() -> None:
    text = "FROM a\n\nRUN one \\\n  two\nrun  Three\n"
    assert line_of(text, "FROM a") == 1
    assert line_of(text, "RUN one   two") == 3
    assert line_of(text, "RUN three") == 5
    assert line_of(text, "RUN four") is None
