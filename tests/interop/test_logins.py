"""Other people's clients over TLS, each by its own login: push, list, pull, delete; a wrong password; no rights.

All of it in a private repository, so that each request must carry what the token service gave.
"""

import json
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from catalog.access.administration import Administration
from catalog.access.policy import parse_grant
from catalog.access.store import AccessStore
from catalog.catalog import open_catalog
from catalog.settings import read_settings
from oci.memory import MemoryStore
from oci.pack import pack_image
from tests.conftest import EntrepotFactory
from tests.scratch import disk
from tests.servers import Certificate, Client, EntrepotServer, make_certificate, make_podman, make_skopeo

PASSWORD = "correct horse battery"
SEED = "team/seed:v1"


@dataclass(frozen=True)
class Site:
    """A registry with `writer` (pull, push, delete below team/), `reader` (pull there) and `stranger`; no path is public."""

    server: EntrepotServer
    certificate: Certificate | None

    def ref(self, text: str) -> str:
        return f"{self.server.host}/{text}"

    @contextmanager
    def client(self, who: str) -> Iterator[httpx.Client]:
        import ssl

        verify = ssl.create_default_context(cafile=self.certificate.ca_file) if self.certificate else False
        with httpx.Client(base_url=self.server.url, verify=verify, auth=(who, PASSWORD), trust_env=False) as made:
            yield made


@pytest.fixture(scope="module")
def site(module_entrepot_server: EntrepotFactory, tmp_path_factory: pytest.TempPathFactory) -> Site:
    return make_site(module_entrepot_server, make_certificate(tmp_path_factory.mktemp("certificate") / "made"))


@pytest.fixture(scope="module")
def plain_site(module_entrepot_server: EntrepotFactory) -> Site:
    """The same without TLS, which helm never uses to this machine."""
    return make_site(module_entrepot_server, None)


def make_site(start: EntrepotFactory, certificate: Certificate | None) -> Site:
    server = start(certificate=certificate, env={"ENTREPOT_NEW_REPOSITORIES": "private"})
    with open_catalog(read_settings(home=server.home)) as catalog:
        desk = Administration(
            AccessStore(catalog.settings, catalog.state), catalog.events, actor="test", now=lambda: datetime.now(UTC)
        )
        for name in ("writer", "reader", "stranger"):
            desk.add_account(name, password=PASSWORD)
        desk.add_rule(["user:writer"], parse_grant("pull,push,delete:team/**"))
        desk.add_rule(["user:reader"], parse_grant("pull:team/**"))
    made = Site(server, certificate)
    store = MemoryStore()
    image = pack_image(store, [{"file": "content"}])
    with made.client("writer") as writer:
        name, _, tag = SEED.partition(":")
        for digest, data in store.blobs.items():
            assert writer.post(f"/v2/{name}/blobs/uploads/", params={"digest": digest}, content=data).status_code == 201
        headers = {"Content-Type": image.media_type}
        put = writer.put(f"/v2/{name}/manifests/{tag}", content=image.raw, headers=headers)
        assert put.status_code == 201, put.text
    return made


Run = Callable[..., "subprocess.CompletedProcess[str]"]


@dataclass(frozen=True)
class Verbs:
    """How one client does things: each takes full references, and whether to fail loudly."""

    login: Callable[..., "subprocess.CompletedProcess[str]"]
    push: Callable[..., "subprocess.CompletedProcess[str]"]
    pull: Callable[..., "subprocess.CompletedProcess[str]"]
    tags: Callable[[str], str] | None = None
    delete: Callable[[str], object] | None = None
    chart: bool = field(default=False)


@pytest.fixture
def verbs(request: pytest.FixtureRequest, site: Site, tool: Callable[[str], str], tmp_path: Path) -> Iterator[Verbs]:
    with tempfile.TemporaryDirectory(prefix="logins-", dir=disk(), ignore_cleanup_errors=True) as short:
        yield CLIENTS[request.param](site, tool, tmp_path, Path(short))


def _go(site: Site, binary: str, folder: Path) -> Client:
    """A program in Go with a home of its own, which trusts the site's authority."""
    env = {
        "HOME": str(folder),
        "DOCKER_CONFIG": str(folder / "docker"),
        "REGISTRY_AUTH_FILE": str(folder / "auth.json"),
        **({"SSL_CERT_FILE": str(site.certificate.ca_file)} if site.certificate else {}),
        "COSIGN_PASSWORD": "",
        **{f"HELM_{name}_HOME": str(folder / name.lower()) for name in ("CACHE", "CONFIG", "DATA")},
    }
    return Client(binary, (), env)


def _skopeo(site: Site, _tool: Callable[[str], str], folder: Path, _short: Path) -> Verbs:
    made = make_skopeo(folder / "skopeo")
    run = replace(made, env={**made.env, "REGISTRY_AUTH_FILE": str(folder / "auth.json")})
    assert site.certificate
    certs = str(site.certificate.folder)
    both = ("--src-cert-dir", certs, "--dest-cert-dir", certs)
    seed = f"docker://{site.ref(SEED)}"
    return Verbs(
        login=lambda who, password, **more: run(
            "login", "--cert-dir", certs, "-u", who, "-p", password, site.server.host, **more
        ),
        push=lambda ref, **more: run("copy", *both, seed, f"docker://{ref}", **more),
        pull=lambda ref, **more: run(
            "copy", "--src-cert-dir", certs, f"docker://{ref}", f"dir:{folder}/pulled", **more
        ),
        tags=lambda name: run("list-tags", "--cert-dir", certs, f"docker://{name}").stdout,
        delete=lambda ref: run("delete", "--cert-dir", certs, f"docker://{ref}"),
    )


def _containers(made: Client, site: Site, folder: Path, *always: str) -> Verbs:
    run = replace(made, env={**made.env, "REGISTRY_AUTH_FILE": str(folder / "auth.json")})
    assert site.certificate
    certs = ("--cert-dir", str(site.certificate.folder))

    def push(ref: str, **more: bool) -> "subprocess.CompletedProcess[str]":
        pulled = run("pull", *certs, site.ref(SEED), **more)
        if pulled.returncode:
            return pulled
        run("tag", site.ref(SEED), ref)
        return run("push", *certs, ref, **more)

    return Verbs(
        login=lambda who, password, **more: run("login", *certs, "-u", who, "-p", password, site.server.host, **more),
        push=push,
        pull=lambda ref, **more: run("pull", *always, *certs, ref, **more),
    )


def _podman(site: Site, _tool: Callable[[str], str], folder: Path, short: Path) -> Verbs:
    return _containers(make_podman(short), site, folder)


def _buildah(site: Site, tool: Callable[[str], str], folder: Path, short: Path) -> Verbs:
    podman = make_podman(short)
    options = ("--root", str(short / "graph"), "--runroot", str(short / "run"), "--storage-driver", "vfs")
    return _containers(Client(tool("buildah"), options, podman.env), site, folder, "--policy", "always")


def _oras(site: Site, tool: Callable[[str], str], folder: Path, _short: Path) -> Verbs:
    run = _go(site, tool("oras"), folder)
    return Verbs(
        login=lambda who, password, **more: run("login", "-u", who, "-p", password, site.server.host, **more),
        push=lambda ref, **more: run("cp", site.ref(SEED), ref, **more),
        pull=lambda ref, **more: run("cp", "--to-oci-layout", ref, f"{folder}/layout:v1", **more),
        tags=lambda name: run("repo", "tags", name).stdout,
        delete=lambda ref: run("manifest", "delete", "--force", ref),
    )


def _crane(site: Site, tool: Callable[[str], str], folder: Path, _short: Path) -> Verbs:
    run = _go(site, tool("crane"), folder)

    def delete(ref: str) -> None:
        name = ref.rpartition(":")[0]
        run("delete", f"{name}@{run('digest', ref).stdout.strip()}")

    return Verbs(
        login=lambda who, password, **more: run("auth", "login", "-u", who, "-p", password, site.server.host, **more),
        push=lambda ref, **more: run("copy", site.ref(SEED), ref, **more),
        pull=lambda ref, **more: run("pull", ref, f"{folder}/pulled.tar", **more),
        tags=lambda name: run("ls", name).stdout,
        delete=delete,
    )


def _regctl(site: Site, tool: Callable[[str], str], folder: Path, _short: Path) -> Verbs:
    run = _go(site, tool("regctl"), folder)
    return Verbs(
        login=lambda who, password, **more: run(
            "registry", "login", "-u", who, "-p", password, site.server.host, **more
        ),
        push=lambda ref, **more: run("image", "copy", site.ref(SEED), ref, **more),
        pull=lambda ref, **more: run("image", "copy", ref, f"ocidir://{folder}/layout:v1", **more),
        tags=lambda name: run("tag", "ls", name).stdout,
        delete=lambda ref: run("tag", "delete", ref),
    )


def _cosign(site: Site, tool: Callable[[str], str], folder: Path, _short: Path) -> Verbs:
    run = _go(site, tool("cosign"), folder)
    return Verbs(
        login=lambda who, password, **more: run("login", "-u", who, "-p", password, site.server.host, **more),
        push=lambda ref, **more: run("copy", site.ref(SEED), ref, **more),
        pull=lambda ref, **more: run("save", "--dir", f"{folder}/saved", ref, **more),
    )


def _helm(site: Site, tool: Callable[[str], str], folder: Path, _short: Path) -> Verbs:
    run = _go(site, tool("helm"), folder)
    trust = ("--plain-http",)

    def push(ref: str, **more: bool) -> "subprocess.CompletedProcess[str]":
        place, _, _tag = ref.rpartition(":")
        place, _, name = place.rpartition("/")
        run("create", f"{folder}/{name}")
        run("package", f"{folder}/{name}", "--version", "1.0.0", "-d", str(folder))
        return run("push", *trust, f"{folder}/{name}-1.0.0.tgz", f"oci://{place}", **more)

    def pull(ref: str, **more: bool) -> "subprocess.CompletedProcess[str]":
        return run("pull", *trust, f"oci://{ref.rpartition(':')[0]}", "--version", "1.0.0", "-d", str(folder), **more)

    return Verbs(
        login=lambda who, password, **more: run(
            "registry", "login", "--insecure", "-u", who, "-p", password, site.server.host, **more
        ),
        push=push,
        pull=pull,
        chart=True,
    )


CLIENTS = {
    "skopeo": _skopeo,
    "podman": _podman,
    "buildah": _buildah,
    "oras": _oras,
    "crane": _crane,
    "regctl": _regctl,
    "cosign": _cosign,
}
CHECKS_AT_LOGIN = {"skopeo", "podman", "buildah", "oras", "helm"}
"""The others keep what they are given, and find out with the first request."""


@pytest.mark.parametrize("verbs", CLIENTS, indirect=True, ids=list(CLIENTS))
def test_a_login_and_what_it_may_do(verbs: Verbs, site: Site, request: pytest.FixtureRequest) -> None:
    check(verbs, site, request.node.callspec.params["verbs"])


def test_a_login_of_helm_and_what_it_may_do(plain_site: Site, tool: Callable[[str], str], tmp_path: Path) -> None:
    check(_helm(plain_site, tool, tmp_path, tmp_path), plain_site, "helm")


def check(verbs: Verbs, site: Site, who: str) -> None:
    """Wrong password; right one: push, pull, list; a reader pulls and does not push; a stranger does neither; deletion."""
    name, tag = f"team/{who}", "1.0.0" if verbs.chart else "v1"
    reference = site.ref(f"{name}:{tag}")

    wrong = verbs.login("writer", "wrong", check=False)
    if who in CHECKS_AT_LOGIN:
        assert wrong.returncode != 0
    if wrong.returncode == 0:
        assert verbs.push(reference, check=False).returncode != 0

    verbs.login("writer", PASSWORD)
    verbs.push(reference)
    verbs.pull(reference)
    with site.client("writer") as writer:
        tags = writer.get(f"/v2/{name}/tags/list").json()["tags"]
        assert tag in tags
    if verbs.tags:
        assert tag in verbs.tags(site.ref(name))

    verbs.login("reader", PASSWORD)
    assert verbs.pull(reference, check=False).returncode == 0
    refused = verbs.push(site.ref(f"{name}:other" if not verbs.chart else f"team/denied/{who}:1.0.0"), check=False)
    assert refused.returncode != 0
    verbs.login("stranger", PASSWORD)
    assert verbs.pull(reference, check=False).returncode != 0
    with site.client("writer") as writer:
        assert writer.get(f"/v2/{name}/tags/list").json()["tags"] == tags

    if verbs.delete:
        verbs.login("writer", PASSWORD)
        verbs.delete(reference)
        with site.client("writer") as writer:
            assert writer.get(f"/v2/{name}/tags/list").json()["tags"] in ([], None)


def test_no_secret_is_in_the_log(site: Site) -> None:
    text = site.server.child.output()
    assert PASSWORD not in text
    assert "Bearer ey" not in text


def test_a_token_of_the_service_is_enough_for_skopeo(site: Site, tool: Callable[[str], str], tmp_path: Path) -> None:
    """As `--src-registry-token` takes it: a bearer token and nothing else."""
    with site.client("reader") as reader:
        token = json.loads(reader.get("/token", params={"scope": "repository:team/seed:pull"}).text)["token"]
    run = make_skopeo(tmp_path / "skopeo")
    assert site.certificate
    options = ("--cert-dir", str(site.certificate.folder), "--registry-token", token)
    assert json.loads(run("inspect", *options, f"docker://{site.ref(SEED)}").stdout)["RepoTags"] == ["v1"]
