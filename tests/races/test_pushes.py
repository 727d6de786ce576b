"""Many clients pushing to one repository at once: nobody is refused, nothing is lost."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from oci.memory import MemoryStore
from oci.pack import pack_image
from tests.api.conftest import Api, serve
from tests.servers import wait_until

CLIENTS, EACH = 32, 3


def _push(api: Api, number: int) -> list[int]:
    """Push some images over a connection of this client's own; returns every status that was met."""
    statuses: list[int] = []
    with api.client(auth=("admin", api.password)) as client:
        own = Api(api.catalog, api.port, api.password)
        own.admin.close()
        own.admin = client
        client.event_hooks = {"response": [lambda answer: statuses.append(answer.status_code)]}
        for step in range(EACH):
            store = MemoryStore()
            image = pack_image(store, [{"shared": "by all"}, {"own": f"{number} {step}"}])
            own.push("team/app", f"t{number}-{step}", store, image)
        own.anybody.close()
    return statuses


def test_32_clients_push_to_one_repository(tmp_path: Path) -> None:
    with serve(tmp_path / "entrepot") as api:
        with ThreadPoolExecutor(CLIENTS) as pool:
            statuses = [
                status for some in pool.map(lambda number: _push(api, number), range(CLIENTS)) for status in some
            ]
        assert set(statuses) <= {200, 201, 404}
        tags = {f"t{number}-{step}" for number in range(CLIENTS) for step in range(EACH)}
        assert set(api.anybody.get("/v2/team/app/tags/list").json()["tags"]) == tags
        versions = api.catalog.history.versions("team/app")
        assert [version.number for version in versions] == list(range(len(tags), 0, -1))
        assert [version.tags for version in versions] == list(range(len(tags), 0, -1))


def test_a_tag_moved_by_many_ends_at_one_of_them_with_a_version_each(tmp_path: Path) -> None:
    with serve(tmp_path / "entrepot") as api:
        store = MemoryStore()
        images = [pack_image(store, [{"own": str(number)}]) for number in range(16)]
        for image in images:
            api.push("team/app", image.digest, store, image)

        def move(number: int) -> int:
            with api.client(auth=("admin", api.password)) as client:
                headers = {"Content-Type": images[number].media_type}
                path = "/v2/team/app/manifests/latest"
                return client.put(path, content=images[number].raw, headers=headers).status_code

        with ThreadPoolExecutor(16) as pool:
            assert set(pool.map(move, range(16))) == {201}
        found = api.anybody.head("/v2/team/app/manifests/latest").headers["docker-content-digest"]
        assert found in {image.digest for image in images}
        assert len(api.catalog.history.versions("team/app")) == 32


def test_reading_goes_on_while_others_push(tmp_path: Path) -> None:
    with serve(tmp_path / "entrepot") as api, ThreadPoolExecutor(8) as pool:
        _push(api, 99)
        pushing = [pool.submit(_push, api, number) for number in range(8)]
        with api.client() as client:
            while not all(push.done() for push in pushing):
                assert client.get("/v2/team/app/manifests/t99-0").status_code == 200
        wait_until(lambda: all(push.done() for push in pushing), 60, "all pushes end")
        assert all(push.exception() is None for push in pushing)
