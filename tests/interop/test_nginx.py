"""nginx in front of our registry, by the example of `deploy/nginx`: we decide who may have a blob, nginx sends its file."""

import os
import random
import ssl
import time
from dataclasses import dataclass
from email.utils import formatdate
from functools import partial
from pathlib import Path

import httpx
import pytest

from catalog.blobs.local_store import name_of_digest
from oci.digest import Digest
from oci.manifest import required_blobs
from oci.memory import MemoryStore
from oci.pack import pack_artifact, pack_image
from tests.conftest import DockerRegistryFactory, EntrepotFactory
from tests.mirror import mirror, upload
from tests.nginx import OFFLOAD, Nginx, check_nginx, render_example, start_nginx_before, write_nginx
from tests.servers import Children, Client, EntrepotServer, free_port, make_certificate, wait_until

DATA = random.Random(7).randbytes(100_000)  # the same in each process that shares the tests
DIGEST = Digest.of(DATA)
FILE = f"/blobs/{name_of_digest(DIGEST)}"
OPEN, SECRET = f"/v2/team/app/blobs/{DIGEST}", f"/v2/secret/app/blobs/{DIGEST}"
KEPT = ("content-type", "docker-content-digest", "etag", "cache-control", "docker-distribution-api-version")
"""Headers that are the same whoever sends the bytes."""


@dataclass(frozen=True)
class Place:
    """Our registry behind nginx: the image `team/app:v1`, and DATA as a blob of `team/app` and of `secret/app`, a private one."""

    server: EntrepotServer
    nginx: Nginx

    def through(self, auth: tuple[str, str] | None = None) -> httpx.Client:
        """A client of nginx."""
        certificate = self.nginx.certificate
        verify = ssl.create_default_context(cafile=certificate.ca_file) if certificate else False
        return httpx.Client(base_url=self.nginx.url, auth=auth, verify=verify, trust_env=False)

    def direct(self, auth: tuple[str, str] | None = None) -> httpx.Client:
        """A client that reaches the registry past nginx."""
        return httpx.Client(base_url=self.server.url, auth=auth, trust_env=False)


def push(client: httpx.Client, name: str) -> None:
    """Push an image as `v1`, and DATA as the blob of an artifact."""
    store = MemoryStore()
    image = pack_image(store, [{"etc/one": "1"}, {"bin/large": os.urandom(2_000_000)}])
    artifact = pack_artifact(store, "application/x-data", [("application/octet-stream", DATA)])
    for tag, manifest in (("v1", image), ("data", artifact)):
        for blob in required_blobs(manifest):
            data = store.blobs[blob.digest]
            answer = client.post(f"/v2/{name}/blobs/uploads/", params={"digest": blob.digest}, content=data)
            assert answer.status_code == 201, answer.text
        headers = {"Content-Type": manifest.media_type}
        answer = client.put(f"/v2/{name}/manifests/{tag}", content=manifest.raw, headers=headers)
        assert answer.status_code == 201, answer.text


@pytest.fixture(scope="module", params=[False, True], ids=["asks", "remembers"])
def place(
    request: pytest.FixtureRequest,
    module_entrepot_server: EntrepotFactory,
    module_children: Children,
    tmp_path_factory: pytest.TempPathFactory,
) -> Place:
    server = module_entrepot_server(env=OFFLOAD)
    certificate = make_certificate(tmp_path_factory.mktemp("certificate") / "made")
    blobs = server.home / "blobs"
    nginx = start_nginx_before(
        module_children, server.port, blobs=blobs, certificate=certificate, logs=True, remembers=request.param
    )
    found = Place(server, nginx)
    with found.through(server.auth) as client:
        push(client, "team/app")
        push(client, "secret/app")
        private = {"repository": "secret/app", "private": True}
        assert client.put("/api/v1/distributions/secret/app", json=private).status_code in (200, 201)
    return found


def by_nginx(place: Place, answer: httpx.Response) -> None:
    """Check that nginx sent the body, and that none of it came from us."""
    line = f"GET {FILE} {answer.status_code} {len(answer.content)} of_which_proxied="
    lines = [[f"{line}{none}"] for none in ("0", "-")]
    wait_until(lambda: place.nginx.sent()[-1:] in lines, 5, f"the log ends with {line}0")


def test_the_example_is_one_that_nginx_takes(tmp_path: Path) -> None:
    certificate, ports = make_certificate(tmp_path / "made"), [free_port() for _ in range(4)]
    text = render_example(
        port=ports[0], plain_port=ports[1], upstreams=[ports[2]], blobs=tmp_path, certificate=certificate
    )
    done = check_nginx(write_nginx(tmp_path / "nginx", text, files_port=ports[3], blobs=tmp_path))
    assert done.returncode == 0, done.stderr
    assert "warn" not in done.stderr


def test_a_whole_blob_is_sent_by_nginx_with_our_headers(place: Place) -> None:
    with place.direct() as direct, place.through() as client:
        ours, theirs = direct.get(OPEN), client.get(OPEN)
        assert (theirs.status_code, theirs.content) == (200, DATA)
        assert theirs.headers["content-length"] == str(len(DATA))
        assert theirs.headers["accept-ranges"] == "bytes"
        assert [theirs.headers.get_list(name) for name in KEPT] == [ours.headers.get_list(name) for name in KEPT]
        assert theirs.headers.keys() & {"x-accel-redirect", "last-modified"} == set()
        by_nginx(place, theirs)


@pytest.mark.parametrize("asked", ["bytes=500-1499", "bytes=500-", "bytes=-500", "bytes=-99999999", "bytes=0-0"])
def test_a_range_is_sent_by_nginx(place: Place, asked: str) -> None:
    with place.direct() as direct, place.through() as client:
        ours, theirs = (one.get(OPEN, headers={"Range": asked}) for one in (direct, client))
        assert (theirs.status_code, theirs.content) == (206, ours.content)
        same = (*KEPT, "content-range", "content-length")
        assert [theirs.headers.get(name) for name in same] == [ours.headers.get(name) for name in same]
        by_nginx(place, theirs)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Range": "bytes=0-9", "If-Range": f'"{DIGEST}"'}, 206),
        ({"Range": "bytes=0-9", "If-Range": '"sha256:0"'}, 200),
        ({"Range": "bytes=0-9", "If-Range": "Wed, 21 Oct 2065 07:28:00 GMT"}, 200),
        ({"Range": "bytes=0-1,5-6"}, 200),
        ({"Range": "BYTES = 1-2"}, 206),
        ({"Range": "bytes=100000-"}, 416),
        ({"If-None-Match": f'"{DIGEST}"'}, 304),
        ({"If-None-Match": '"sha256:0"'}, 200),
        ({"If-Modified-Since": "Wed, 21 Oct 2065 07:28:00 GMT"}, 200),
        ({"If-Match": '"sha256:0"'}, 200),
        ({"If-Unmodified-Since": "Wed, 21 Oct 2015 07:28:00 GMT"}, 200),
    ],
    ids=str,
)
def test_conditions_and_ranges_mean_the_same(place: Place, headers: dict[str, str], status: int) -> None:
    with place.direct() as direct, place.through() as client:
        ours, theirs = (one.get(OPEN, headers=headers) for one in (direct, client))
        assert ours.status_code == theirs.status_code == status
        assert theirs.content == ours.content
        same = (*KEPT, "content-range")
        assert [theirs.headers.get(name) for name in same] == [ours.headers.get(name) for name in same]


def test_the_time_of_the_file_is_no_condition(place: Place) -> None:
    changed = (place.server.home / "blobs" / name_of_digest(DIGEST)).stat().st_mtime
    with place.through() as client:
        answer = client.get(OPEN, headers={"If-Modified-Since": formatdate(changed, usegmt=True)})
        assert (answer.status_code, answer.content) == (200, DATA)


@pytest.mark.parametrize(
    "claims",
    [
        {"X-Forwarded-Host": "evil.example", "X-Forwarded-Proto": "http"},
        {"Forwarded": "for=203.0.113.9;host=evil.example"},
    ],
    ids=str,
)
def test_what_a_client_claims_of_itself_does_not_pass_nginx(place: Place, claims: dict[str, str]) -> None:
    with place.through() as client:
        answer = client.get("/v2/", headers=claims)
        assert answer.headers["www-authenticate"].startswith(f'Bearer realm="{place.nginx.url}/token"')


def test_a_client_has_the_address_that_nginx_sees(place: Place) -> None:
    with place.through(("ghost", "wrong password")) as ghost, place.through(place.server.auth) as admin:
        assert ghost.get("/v2/", headers={"X-Forwarded-For": "203.0.113.9"}).status_code == 401

        def addresses() -> set[str]:
            events = admin.get("/api/v1/events", params={"action": "login"}).json()
            return {event["address"] for event in events}

        wait_until(lambda: bool(addresses()), 10, "the refused login is recorded")
        assert addresses() == {"127.0.0.1"}


def test_a_head_is_answered_by_us(place: Place) -> None:
    with place.through() as client:
        answer = client.head(OPEN)
        assert (answer.status_code, answer.headers["content-length"]) == (200, str(len(DATA)))
        assert answer.headers["docker-content-digest"] == DIGEST
        assert "x-accel-redirect" not in answer.headers


def test_a_private_blob_needs_a_login(place: Place) -> None:
    with place.through() as client, place.through(place.server.auth) as admin:
        refused = client.get(SECRET)
        assert refused.status_code == 401
        assert DATA not in refused.content
        assert refused.headers["www-authenticate"].startswith(f'Bearer realm="{place.nginx.url}/token"')
        assert client.get(SECRET.replace("secret", "other")).status_code == 401
        given = admin.get(SECRET)
        assert (given.status_code, given.content) == (200, DATA)
        by_nginx(place, given)


@pytest.mark.parametrize(
    "path", [FILE, FILE.replace("/sha256", "//sha256"), f"/v2/..{FILE}", f"/x/%2e%2e{FILE}", "/blobs/"]
)
def test_the_folder_of_blobs_is_not_reached_from_outside(place: Place, path: str) -> None:
    with place.through(place.server.auth) as client:
        answer = client.get(f"{place.nginx.url}{path}", headers={"X-Accel-Redirect": FILE})
        assert answer.status_code == 404
        assert DATA not in answer.content


def test_a_client_past_nginx_gets_the_bytes(place: Place) -> None:
    with place.direct() as client:
        answer = client.get(OPEN, headers={"X-Forwarded-For": "203.0.113.9"})
        assert (answer.status_code, answer.content) == (200, DATA)
        assert "x-accel-redirect" not in answer.headers


def answers_with(client: httpx.Client, status: int) -> bool:
    """Return whether DATA is answered so, asked without a login."""
    return client.get(OPEN).status_code == status


@pytest.mark.parametrize("place", [True], indirect=True, ids=["remembers"])
def test_a_popular_blob_is_asked_for_once_a_second_and_a_right_taken_away_ends(place: Place) -> None:
    asked, began = place.nginx.decisions(), time.monotonic()
    with place.through() as client, place.through(place.server.auth) as admin:
        for _ in range(100):
            assert client.get(OPEN).content == DATA
        seconds = time.monotonic() - began
        assert place.nginx.decisions() >= 1  # one of a test before may still be remembered
        assert place.nginx.decisions() - asked <= seconds + 2
        for private, status in ((True, 401), (False, 200)):
            change = {"repository": "team/app", "private": private}
            assert admin.put("/api/v1/distributions/team/app", json=change).status_code == 200
            wait_until(partial(answers_with, client, status), 5, f"answered {status}")
        for _ in range(2):
            assert admin.get(SECRET).content == DATA
            assert client.get(SECRET).status_code == 401


def test_podman_pulls_and_skopeo_copies_through_nginx(
    place: Place, podman: Client, skopeo: Client, tmp_path: Path
) -> None:
    assert place.nginx.certificate is not None
    trusted = str(place.nginx.certificate.folder)
    podman("pull", "--cert-dir", trusted, f"{place.nginx.host}/team/app:v1")
    wait_until(lambda: any(line.split()[3] > "2000000" for line in place.nginx.sent() if "/blobs/" in line), 5, "sent")
    source, login = f"docker://{place.nginx.host}/team/app:v1", place.server.creds
    options = ("--src-cert-dir", trusted, "--dest-cert-dir", trusted, "--dest-creds", login)
    skopeo("copy", *options, source, f"docker://{place.nginx.host}/copied/app:v1")
    skopeo("copy", "--src-cert-dir", trusted, source.replace("team", "copied"), f"dir:{tmp_path}/out")
    refused = skopeo("inspect", "--cert-dir", trusted, source.replace("team", "secret"), check=False)
    assert refused.returncode != 0


def test_a_layer_on_demand_comes_from_us_first_and_then_from_nginx(
    docker_registry: DockerRegistryFactory, entrepot_server: EntrepotFactory, children: Children, tmp_path: Path
) -> None:
    upstream = docker_registry()
    index = upload(upstream, "team/app", "v1", "one", "two" * 100_000)
    home = tmp_path / "entrepot"
    mirror(home, f"{upstream.host}/team/app", policy="on_demand")
    server = entrepot_server(home, env=OFFLOAD)
    place = Place(server, start_nginx_before(children, server.port, blobs=home / "blobs", logs=True))
    with place.through() as client:
        image = client.get(f"/v2/team/app/manifests/{index.manifests[0].digest}").json()
        layer = image["layers"][1]["digest"]
        for _ in range(2):
            assert Digest.of(client.get(f"/v2/team/app/blobs/{layer}").content) == layer
        wait_until(lambda: len(place.nginx.sent()) == 3, 5, "all is logged")
    first, second = place.nginx.sent()[1:]
    assert first.split()[1].startswith("/v2/team/app/blobs/")
    assert second.split()[1].startswith("/blobs/sha256/")
    assert second.endswith("of_which_proxied=0")
