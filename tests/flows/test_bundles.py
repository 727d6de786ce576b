"""Export and import by the command: everything here deleted, imported, and pulled with the digests it had."""

from pathlib import Path

import pytest

from tests.cli.commands import Entrepot, PrefectServer
from tests.conftest import EntrepotFactory
from tests.flows.test_sync_flow import processes_of
from tests.servers import Children, Client, EntrepotServer, get

pytestmark = pytest.mark.slow


@pytest.fixture
def server(entrepot: Entrepot, entrepot_server: EntrepotFactory) -> EntrepotServer:
    """Holds demo/hello: images, an index, a docker image, an artifact with a subject."""
    import asyncio

    from catalog.settings import read_settings
    from flows.demo import upstream

    started = entrepot_server(entrepot.home)
    asyncio.run(upstream.seed(read_settings(home=entrepot.home), started.url))
    return started


def digest_of(server: EntrepotServer, reference: str) -> str:
    answer = get(f"{server.url}/v2/demo/hello/manifests/{reference}")
    assert answer.status_code == 200
    return answer.headers["docker-content-digest"]


@pytest.mark.parametrize("form", ["hello.tar", "hello"])
def test_deleted_and_imported(
    entrepot: Entrepot, server: EntrepotServer, entrepot_server: EntrepotFactory, podman: Client, skopeo: Client,
    prefect: PrefectServer, tmp_path: Path, form: str,
) -> None:  # fmt: skip
    bundle = tmp_path / form
    exported = entrepot.json("export", str(bundle), "demo/hello")
    assert exported["blobs"]["count"] > 10
    tags = {row["tag"]: row["digest"] for row in entrepot.json("tag", "list", "demo/hello")["tags"]}
    referrers = get(f"{server.url}/v2/demo/hello/referrers/{tags['latest']}").json()
    layout = f"oci-archive:{bundle}" if form.endswith(".tar") else f"oci:{bundle}"
    inspected = skopeo("inspect", "--raw", f"{layout}:demo/hello:latest")
    assert inspected.stdout.encode() == get(f"{server.url}/v2/demo/hello/manifests/latest").content
    server.child.stop()
    entrepot.home.rename(tmp_path / "gone")

    entrepot.home.mkdir()
    checked = entrepot("import", str(bundle), "--dry-run")
    assert (checked.returncode, "can be imported" in checked.stdout) == (0, True)
    result = entrepot.json("import", str(bundle))
    (imported,) = result["repositories"]
    assert (imported["version"], set(imported["tags"])) == (1, set(tags))
    assert prefect.flow_run(result["flow_run_id"])["state"]["message"].startswith("demo/hello: version 1; 5 added")
    again = entrepot_server(entrepot.home)
    for tag, digest in tags.items():
        assert digest_of(again, tag) == digest
    podman("pull", "--tls-verify=false", f"{again.host}/demo/hello:latest")
    assert get(f"{again.url}/v2/demo/hello/referrers/{tags['latest']}").json() == referrers
    assert not entrepot.json("import", str(bundle))["repositories"][0]["changed"]


def test_a_difference_and_what_is_wrong(
    entrepot: Entrepot,
    server: EntrepotServer,
    children: Children,
    prefect: PrefectServer,
    tmp_path: Path,
    skopeo: Client,
) -> None:
    before = entrepot.json("repository", "show", "demo/hello")["version"]
    skopeo(
        "copy", "--src-tls-verify=false", "--dest-tls-verify=false", f"--dest-creds={server.creds}",
        f"docker://{server.host}/demo/hello:1.1.0-amd64", f"docker://{server.host}/demo/hello:again",
    )  # fmt: skip
    entrepot.json("export", str(tmp_path / "full.tar"), "demo/hello", "--version", str(before))
    difference = entrepot.json("export", str(tmp_path / "more.tar"), "demo/hello", "--since", str(before))
    assert difference["blobs"] == {"count": 0, "bytes": 0}
    there = Entrepot(tmp_path / "there", children, entrepot.env)
    for path, said in (
        (tmp_path / "more.tar", "import the bundle of that version first"),
        (tmp_path / "none.tar", "there is no bundle"),
    ):
        done = there("import", str(path))
        assert done.returncode == 1
        assert said in done.stderr
        assert "Traceback" not in done.stderr
    there.json("import", str(tmp_path / "full.tar"))
    there.json("import", str(tmp_path / "more.tar"))
    listed = [row["tag"] for row in there.json("tag", "list", "demo/hello")["tags"]]
    assert listed == [row["tag"] for row in entrepot.json("tag", "list", "demo/hello")["tags"]]
    assert "again" in listed
    done = entrepot("export", str(tmp_path / "full.tar"), "demo/hello")
    assert (done.returncode, "exists already" in done.stderr) == (1, True)
    assert entrepot.json("export", str(tmp_path / "x.tar"), "demo/none", code=1)["error"]["code"] == "NAME_UNKNOWN"
    assert entrepot("export", str(tmp_path / "x.tar"), "a/b", "c/d", "--since", "1").returncode == 2
    assert processes_of(there.home) == []
