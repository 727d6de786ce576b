"""The clients of others against our registry: podman, skopeo and buildah, over plain HTTP and over TLS."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from oci import mediatypes
from oci.digest import Digest
from oci.manifest import Manifest, required_blobs
from oci.memory import MemoryStore
from oci.pack import pack_artifact, pack_image, pack_index
from oci.platform import Platform
from tests import servers
from tests.conftest import EntrepotFactory
from tests.servers import Certificate, Client, EntrepotServer


@dataclass(frozen=True)
class Place:
    """Our registry with an image `team/app:v1`, an index `team/app:multi` and a docker image `team/app:docker` in it."""

    server: EntrepotServer
    images: dict[str, Manifest]

    @property
    def name(self) -> str:
        return f"docker://{self.server.host}/team/app"

    def trust(self, *prefixes: str) -> list[str]:
        """Options that make skopeo trust the server: as source and destination by the prefixes `src-` and `dest-`."""
        options = []
        for prefix in prefixes or ("",):
            if self.server.certificate:
                options += [f"--{prefix}cert-dir", str(self.server.certificate.folder)]
            else:
                options += [f"--{prefix}tls-verify=false"]
        return options

    def client(self) -> httpx.Client:
        ca_file = self.server.certificate.ca_file if self.server.certificate else None
        import ssl

        verify = ssl.create_default_context(cafile=ca_file) if ca_file else False
        return httpx.Client(base_url=self.server.url, verify=verify, auth=self.server.auth, trust_env=False)


def _push(client: httpx.Client, reference: str, store: MemoryStore, manifest: Manifest) -> None:
    for child in manifest.manifests:
        _push(client, child.digest, store, store.manifests[child.digest])
    for blob in required_blobs(manifest):
        answer = client.post(
            "/v2/team/app/blobs/uploads/", params={"digest": blob.digest}, content=store.blobs[blob.digest]
        )
        assert answer.status_code == 201, answer.text
    headers = {"Content-Type": manifest.media_type}
    answer = client.put(f"/v2/team/app/manifests/{reference}", content=manifest.raw, headers=headers)
    assert answer.status_code == 201, answer.text


@pytest.fixture(scope="module", params=["plain", "tls"])
def place(
    request: pytest.FixtureRequest,
    module_entrepot_server: EntrepotFactory,
    tmp_path_factory: pytest.TempPathFactory,
) -> Place:
    certificate: Certificate | None = None
    if request.param == "tls":
        certificate = servers.make_certificate(tmp_path_factory.mktemp("certificate") / "made")
    store = MemoryStore()
    one = pack_image(store, [{"etc/one": "1"}, {"bin/sh": "#!/bin/false\n"}], config={"Cmd": ["/bin/sh"]})
    arm = pack_image(store, [{"etc/arm": "2"}], platform=Platform("linux", "arm64"))
    images = {
        "v1": one,
        "multi": pack_index(store, [(one, Platform("linux", "amd64")), (arm, Platform("linux", "arm64"))]),
        "docker": pack_image(store, [{"etc/docker": "3"}], docker=True),
    }
    found = Place(module_entrepot_server(certificate=certificate), images)
    with found.client() as client:
        for tag, manifest in images.items():
            _push(client, tag, store, manifest)
        artifact = pack_artifact(store, "application/x-test", [], subject=one)
        _push(client, artifact.digest, store, artifact)
    return found


def _digest(place: Place, reference: str, name: str = "team/app") -> str:
    with place.client() as client:
        answer = client.head(f"/v2/{name}/manifests/{reference}")
        assert answer.status_code == 200
        return answer.headers["docker-content-digest"]


# --- skopeo ----------------------------------------------------------------------------------------------------


def test_skopeo_lists_tags(place: Place, skopeo: Client) -> None:
    listed = json.loads(skopeo("list-tags", *place.trust(), place.name).stdout)
    assert listed["Tags"] == ["docker", "multi", "v1"]


def test_skopeo_inspects(place: Place, skopeo: Client) -> None:
    inspected = json.loads(skopeo("inspect", *place.trust(), f"{place.name}:v1").stdout)
    assert inspected["Digest"] == place.images["v1"].digest
    assert inspected["RepoTags"] == ["docker", "multi", "v1"]
    raw = skopeo("inspect", "--raw", *place.trust(), f"{place.name}:docker").stdout
    assert raw.encode() == place.images["docker"].raw


@pytest.mark.parametrize("tag", ["v1", "multi", "docker"])
def test_skopeo_copies_out_unchanged(place: Place, skopeo: Client, tmp_path: Path, tag: str) -> None:
    skopeo("copy", "--all", "--preserve-digests", *place.trust("src-"), f"{place.name}:{tag}", f"dir:{tmp_path}/out")
    assert (tmp_path / "out" / "manifest.json").read_bytes() == place.images[tag].raw
    for blob in required_blobs(place.images[tag]):
        assert Digest.of((tmp_path / "out" / blob.digest.encoded).read_bytes()) == blob.digest


@pytest.mark.parametrize("tag", ["v1", "multi", "docker"])
def test_skopeo_copies_in_with_a_login(place: Place, skopeo: Client, tag: str) -> None:
    """Between two repositories of ours, so that its mounts are tried too."""
    target = f"docker://{place.server.host}/copied/by-skopeo:{tag}"
    options = ("--all", "--preserve-digests", "--dest-creds", place.server.creds)
    skopeo("copy", *options, *place.trust("src-", "dest-"), f"{place.name}:{tag}", target)
    assert _digest(place, tag, "copied/by-skopeo") == place.images[tag].digest


def test_skopeo_pushes_from_a_folder(place: Place, skopeo: Client, tmp_path: Path) -> None:
    skopeo("copy", *place.trust("src-"), f"{place.name}:v1", f"oci:{tmp_path}/layout:v1")
    target = f"docker://{place.server.host}/pushed/by-skopeo:v1"
    skopeo("copy", "--dest-creds", place.server.creds, *place.trust("dest-"), f"oci:{tmp_path}/layout:v1", target)
    assert _digest(place, "v1", "pushed/by-skopeo") == place.images["v1"].digest


def test_skopeo_syncs_a_whole_repository(place: Place, skopeo: Client, tmp_path: Path) -> None:
    options = ("--src", "docker", "--dest", "dir", "--all")
    skopeo("sync", *options, *place.trust("src-"), f"{place.server.host}/team/app", str(tmp_path / "synced"))
    assert {path.name for path in (tmp_path / "synced").iterdir()} == {"app:docker", "app:multi", "app:v1"}


def test_skopeo_deletes_with_a_login(place: Place, skopeo: Client) -> None:
    target = f"docker://{place.server.host}/deleted/by-skopeo:v1"
    creds = place.server.creds
    skopeo("copy", "--dest-creds", creds, *place.trust("src-", "dest-"), f"{place.name}:v1", target)
    skopeo("delete", "--creds", creds, *place.trust(), target)
    with place.client() as client:
        assert client.head("/v2/deleted/by-skopeo/manifests/v1").status_code == 404


def test_skopeo_cannot_push_anonymously(place: Place, skopeo: Client) -> None:
    target = f"docker://{place.server.host}/refused/anonymous:v1"
    refused = skopeo("copy", *place.trust("src-", "dest-"), f"{place.name}:v1", target, check=False)
    assert refused.returncode != 0
    assert "denied" in refused.stderr or "authentication required" in refused.stderr
    with place.client() as client:
        assert client.get("/v2/refused/anonymous/tags/list").status_code == 404


@pytest.mark.parametrize("creds", ["admin:wrong", "nobody:wrong"])
def test_skopeo_is_told_that_its_login_is_wrong(place: Place, skopeo: Client, creds: str) -> None:
    for command in (
        ("inspect", "--creds", creds, *place.trust(), f"{place.name}:v1"),
        ("copy", "--dest-creds", creds, *place.trust("src-", "dest-"), f"{place.name}:v1", f"{place.name}:no"),
    ):
        refused = skopeo(*command, check=False)
        assert refused.returncode != 0
        assert "denied" in refused.stderr or "invalid username/password" in refused.stderr


def test_skopeo_logs_in_and_out(place: Place, skopeo: Client) -> None:
    login = ("--username", place.server.username)
    wrong = skopeo("login", *login, "--password", "wrong", *place.trust(), place.server.host, check=False)
    assert wrong.returncode != 0
    skopeo("login", *login, "--password", place.server.password, *place.trust(), place.server.host)
    target = f"docker://{place.server.host}/pushed/after-login:v1"
    skopeo("copy", *place.trust("src-", "dest-"), f"{place.name}:v1", target)
    assert _digest(place, "v1", "pushed/after-login") == place.images["v1"].digest
    skopeo("logout", place.server.host)


# --- podman ----------------------------------------------------------------------------------------------------


@pytest.fixture
def trusting(place: Place) -> list[str]:
    """podman's and buildah's options for the server."""
    return place.trust()


@pytest.fixture
def pulled(place: Place, podman: Client, trusting: list[str]) -> str:
    """The image v1, in podman's storage."""
    reference = f"{place.server.host}/team/app:v1"
    podman("pull", *trusting, reference)
    return reference


def test_podman_pulls_anonymously(place: Place, podman: Client, pulled: str) -> None:
    (inspected,) = json.loads(podman("image", "inspect", pulled).stdout)
    assert inspected["Digest"] == place.images["v1"].digest
    assert inspected["Config"]["Cmd"] == ["/bin/sh"]


@pytest.mark.parametrize("tag", ["multi", "docker"])
def test_podman_pulls_indexes_and_docker_images(place: Place, podman: Client, trusting: list[str], tag: str) -> None:
    podman("pull", *trusting, "--arch", "amd64", f"{place.server.host}/team/app:{tag}")


def test_podman_pulls_by_digest(place: Place, podman: Client, trusting: list[str]) -> None:
    podman("pull", *trusting, f"{place.server.host}/team/app@{place.images['v1'].digest}")


def test_podman_pushes_with_a_login_and_pulls_it_again(
    place: Place, podman: Client, pulled: str, trusting: list[str]
) -> None:
    target = f"{place.server.host}/pushed/by-podman:v2"
    podman("tag", pulled, target)
    podman("push", *trusting, "--creds", place.server.creds, target)
    podman("rmi", "--all", "--force")
    podman("pull", *trusting, target)
    with place.client() as client:
        assert client.get("/v2/pushed/by-podman/tags/list").json()["tags"] == ["v2"]


def test_podman_logs_in_once_for_all(place: Place, podman: Client, pulled: str, trusting: list[str]) -> None:
    podman("login", *trusting, "--username", "admin", "--password", place.server.password, place.server.host)
    target = f"{place.server.host}/pushed/logged-in:v2"
    podman("push", *trusting, pulled, target)
    podman("pull", *trusting, target)


def test_podman_cannot_push_anonymously_or_with_a_wrong_password(
    place: Place, podman: Client, pulled: str, trusting: list[str]
) -> None:
    target = f"{place.server.host}/refused/podman:v1"
    for creds in ((), ("--creds", "admin:wrong")):
        refused = podman("push", *trusting, *creds, pulled, target, check=False)
        assert refused.returncode != 0
        assert "denied" in refused.stderr or "invalid username/password" in refused.stderr
    wrong = podman("login", *trusting, "--username", "admin", "--password", "x", place.server.host, check=False)
    assert wrong.returncode != 0
    with place.client() as client:
        assert client.get("/v2/refused/podman/tags/list").status_code == 404


# --- buildah ---------------------------------------------------------------------------------------------------


@pytest.fixture
def buildah(podman: Client, tool: Callable[[str], str]) -> Client:
    """buildah on podman's storage."""
    options = tuple(option for option in podman.options if option != "--tmpdir" and "libpod" not in option)
    return Client(tool("buildah"), options, podman.env)


def test_buildah_builds_and_pushes(place: Place, buildah: Client, trusting: list[str], tmp_path: Path) -> None:
    (tmp_path / "Containerfile").write_text(f"FROM {place.server.host}/team/app:v1\nCOPY greeting /greeting\n")
    (tmp_path / "greeting").write_text("hello\n")
    target = f"{place.server.host}/built/by-buildah:v1"
    build = ("build", "--isolation", "chroot", "--format", "oci", *trusting, "--tag", target)
    buildah(*build, "--file", str(tmp_path / "Containerfile"), str(tmp_path))
    buildah("push", *trusting, "--creds", place.server.creds, target)
    with place.client() as client:
        manifest = client.get("/v2/built/by-buildah/manifests/v1")
        assert manifest.headers["content-type"] == mediatypes.OCI_MANIFEST
        assert len(manifest.json()["layers"]) == 3
