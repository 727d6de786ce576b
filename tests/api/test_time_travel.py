"""Any version pulled by a reserved path, with the rights of the path whose past it is."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from catalog.access.administration import Administration
from catalog.access.policy import parse_grant
from catalog.access.store import AccessStore
from catalog.catalog import open_catalog
from catalog.settings import read_settings
from catalog.signing.stored import stage
from catalog.versions.changes import AddManifest, SetTag
from catalog.versions.timeline import parse_numbers
from oci import mediatypes
from oci.digest import Digest
from oci.memory import MemoryStore
from oci.pack import pack_image
from oci.remote.omitted_children import left_out_text, read_left_out
from tests.api.conftest import Api, codes, describe, serve, simple_manifest
from tests.conftest import EntrepotFactory
from tests.servers import Client
from tests.unit.catalog.conftest import commit_to

PASSWORD = "correct horse"
NAME = "team/app"


@pytest.fixture(scope="module")
def travelled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """team/app: v1, then v1 moved, then v2 with a referrer; secret/app, private, that reader may pull."""
    with serve(tmp_path_factory.mktemp("past") / "entrepot") as api:
        desk = Administration(
            AccessStore(api.catalog.settings, api.catalog.state),
            api.catalog.events,
            actor="test",
            now=lambda: datetime.now(UTC),
        )
        for account, grant in (("reader", "pull:secret/**"), ("writer", "pull,push,delete:**")):
            desk.add_account(account, password=PASSWORD)
            desk.add_rule([f"user:{account}"], parse_grant(grant))
        for name in (NAME, "secret/app"):
            for tag in ("v1", "v1", "v2"):
                assert api.put_manifest(name, tag, simple_manifest(api, name)).status_code == 201
        api.admin.put("/api/v1/distributions/secret/app", json={"repository": "secret/app", "private": True})
        yield api


def digest_of(api: Api, name: str, tag: str = "v1") -> str:
    answer = api.admin.head(f"/v2/{name}/manifests/{tag}")
    assert answer.status_code == 200, name
    return str(answer.headers["docker-content-digest"])


def test_versions_by_number(travelled: Api) -> None:
    versions = [travelled.catalog.snapshots.get(NAME, number).tags["v1"] for number in (1, 2, 3)]
    assert [digest_of(travelled, f"history/{number}/{NAME}") for number in (1, 2, 3)] == versions
    anybody = travelled.anybody
    manifest = anybody.get(f"/v2/history/1/{NAME}/manifests/v1")
    assert Digest.of(manifest.content) == versions[0]
    layer = manifest.json()["layers"][0]["digest"]
    assert len(anybody.get(f"/v2/history/1/{NAME}/blobs/{layer}").content) == 1000
    assert anybody.head(f"/v2/history/1/{NAME}/blobs/{layer}").status_code == 200
    assert anybody.get(f"/v2/history/2/{NAME}/tags/list").json() == {"name": f"history/2/{NAME}", "tags": ["v1"]}
    assert anybody.get(f"/v2/history/3/{NAME}/referrers/{versions[2]}").json()["manifests"] == []
    for number in (0, 9):
        answer = anybody.get(f"/v2/history/{number}/{NAME}/manifests/v1")
        assert (answer.status_code, codes(answer)) == (404, ["NAME_UNKNOWN"])
    listed = travelled.admin.get("/v2/_catalog").json()["repositories"]
    assert not [name for name in listed if name.startswith("history")]


def test_versions_by_date(travelled: Api) -> None:
    now = datetime.now(UTC)
    tomorrow, yesterday = (f"{now + timedelta(days=days):%Y-%m-%d}" for days in (1, -1))
    assert digest_of(travelled, f"history/{tomorrow}/{NAME}", "v2") == digest_of(travelled, NAME, "v2")
    assert travelled.anybody.get(f"/v2/history/{yesterday}/{NAME}/tags/list").status_code == 404
    assert digest_of(travelled, f"history/{now:%Y-%m-%dt%H.%M.%Sz}/{NAME}") == digest_of(travelled, NAME)


def test_nothing_is_changed_in_the_past(travelled: Api) -> None:
    with travelled.client(("writer", PASSWORD)) as writer:
        for name in (f"history/1/{NAME}", "history/1/new/app", "history/2026-11-01/new/app"):
            for method, path in (
                ("PUT", "manifests/v9"),
                ("DELETE", "manifests/v1"),
                ("POST", "blobs/uploads/"),
                ("DELETE", f"blobs/sha256:{'0' * 64}"),
            ):
                answer = writer.request(method, f"/v2/{name}/{path}")
                assert (answer.status_code, codes(answer)) == (403, ["DENIED"]), (name, path)
        mounted = writer.post(
            "/v2/team/copy/blobs/uploads/", params={"mount": f"sha256:{'0' * 64}", "from": f"history/99/{NAME}"}
        )
        assert mounted.status_code == 202
    assert not [name for name in travelled.catalog.snapshots.names() if name.startswith("history")]


def token(api: Api, name: str, auth: tuple[str, str] | None) -> dict[str, str]:
    with api.client(auth) as client:
        got = client.get("/token", params={"scope": f"repository:{name}:pull,push"}).json()
    return {"Authorization": f"Bearer {got['token']}"}


def test_rights_are_those_of_the_present(travelled: Api) -> None:
    path, reader = "history/1/secret/app", ("reader", PASSWORD)
    url = f"/v2/{path}/manifests/v1"
    for hidden in (url, "/v2/history/1/secret/none/manifests/v1", "/v2/history/99/secret/app/manifests/v1"):
        assert travelled.anybody.get(hidden).status_code == 401
    with travelled.client(reader) as client:
        assert client.get(url).status_code == 200
    assert travelled.anybody.get(url, headers=token(travelled, path, reader)).status_code == 200
    assert travelled.anybody.get(url, headers=token(travelled, "secret/app", reader)).status_code == 200
    assert travelled.anybody.get(url, headers=token(travelled, path, None)).status_code == 401
    other = token(travelled, "history/1/secret/none", reader)
    assert travelled.anybody.get(url, headers=other).status_code == 401
    assert (
        travelled.anybody.get("/v2/secret/app/manifests/v1", headers=token(travelled, path, reader)).status_code == 401
    )
    public = f"/v2/history/1/{NAME}/manifests/v1"
    assert travelled.anybody.get(public, headers=token(travelled, f"history/1/{NAME}", None)).status_code == 200


def test_a_fixed_path_shows_no_other_version(travelled: Api) -> None:
    travelled.admin.put("/api/v1/distributions/stable/app", json={"repository": NAME, "version": 2})
    assert digest_of(travelled, "history/2/stable/app") == digest_of(travelled, "stable/app")
    tomorrow = f"{datetime.now(UTC) + timedelta(days=1):%Y-%m-%d}"
    for when in ("1", "3", tomorrow):
        assert travelled.admin.get(f"/v2/history/{when}/stable/app/tags/list").status_code == 404


def test_a_real_path_goes_before_and_a_deleted_version_is_gone(travelled: Api) -> None:
    travelled.admin.put("/api/v1/distributions/history/1/real/app", json={"repository": NAME})
    assert digest_of(travelled, "history/1/real/app", "v2") == digest_of(travelled, NAME, "v2")
    for tag in ("a", "b"):
        travelled.put_manifest("gone/app", tag, simple_manifest(travelled, "gone/app"))
    assert digest_of(travelled, "history/1/gone/app", "a")
    now = datetime.now(UTC)
    travelled.catalog.deletion.delete_versions("gone/app", parse_numbers(["1"]), actor="test", now=now)
    assert travelled.admin.get("/v2/history/1/gone/app/tags/list").status_code == 404


def test_it_can_be_switched_off(tmp_path: Path) -> None:
    with serve(tmp_path / "entrepot", history_path="") as api:
        for _ in range(2):
            api.put_manifest(NAME, "v1", simple_manifest(api, NAME))
        assert api.admin.get(f"/v2/history/1/{NAME}/tags/list").status_code == 404


def test_a_child_that_an_earlier_version_was_made_without_is_refused_with_the_reason(tmp_path: Path) -> None:
    with serve(tmp_path / "entrepot", sparse_repositories="sparse/*") as api:
        child = Digest.of(b"left out")
        index = json.dumps(
            {
                "schemaVersion": 2,
                "mediaType": mediatypes.OCI_INDEX,
                "manifests": [describe(child, 8, mediatypes.OCI_MANIFEST)],
            }
        )
        assert api.put_manifest("sparse/app", "v1", index.encode(), mediatypes.OCI_INDEX).status_code == 201
        for path in ("sparse/app", "history/1/sparse/app"):
            answer = api.anybody.get(f"/v2/{path}/manifests/{child}")
            assert (answer.status_code, codes(answer)) == (404, ["MANIFEST_UNKNOWN"])
            expected = left_out_text(child, Digest.of(index.encode()), path)
            assert read_left_out([answer.headers["warning"]]) == expected
        assert "warning" not in api.anybody.get(f"/v2/history/1/sparse/app/manifests/{Digest.of(b'none')}").headers


@pytest.mark.slow
def test_podman_and_skopeo_travel(
    entrepot_server: EntrepotFactory, skopeo: Client, podman: Client, tmp_path: Path
) -> None:
    home, digests = tmp_path / "entrepot", []
    with open_catalog(read_settings(home=home)) as catalog:
        for day in (1, 2):
            store = MemoryStore()
            image = pack_image(store, [{"etc/day": str(day)}])
            stage(catalog, NAME, store)
            when = datetime(2026, 11, day, 12, tzinfo=UTC)
            commit_to(catalog, NAME, AddManifest(image.descriptor), SetTag("v1", image.digest), created_at=when)
            digests.append(image.digest)
    server = entrepot_server(home)
    for path in (f"history/1/{NAME}", f"history/2026-11-01/{NAME}", f"history/2026-11-02t11.00.00z/{NAME}"):
        shown = skopeo("inspect", "--tls-verify=false", "--format={{.Digest}}", f"docker://{server.host}/{path}:v1")
        assert shown.stdout.strip() == digests[0], path
    for path, digest in ((f"history/1/{NAME}", digests[0]), (f"history/2026-11-02/{NAME}", digests[1])):
        podman("pull", "--tls-verify=false", f"{server.host}/{path}:v1")
        (pulled,) = json.loads(podman("image", "inspect", f"{server.host}/{path}:v1").stdout)
        assert pulled["Digest"] == digest
