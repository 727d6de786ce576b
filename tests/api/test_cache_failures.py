"""The table "When upstream fails" of docs/caches.md, row by row, for each thing that can be asked below a cache."""

import concurrent.futures
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from typing import NamedTuple

import httpx
import pytest

from catalog.distributions.records import Distribution
from oci.digest import Digest
from oci.manifest import Manifest
from oci.memory import MemoryStore
from oci.pack import pack_image
from tests.api.conftest import Api, serve
from tests.upstream import Reply, Route, Seen, Upstream

NOW = datetime(2026, 1, 2, tzinfo=UTC)
_ROUTES: tuple[Route, ...] = ("tags", "manifest", "blob", "referrers")


class Row(NamedTuple):
    """What is answered: `stale` to what is here, with a warning where it is asked for again; `absent` to what is not.

    `gone`: upstream says that there is no such thing, which holds for tags that are here too.
    """

    absent: int
    gone: bool = False


ROWS = {
    "down": Row(503),
    "silent": Row(503),
    "500": Row(503),
    "401": Row(502),
    "403": Row(502),
    "429": Row(429),
    "404": Row(404, gone=True),
    "wrong": Row(502),
}


class Case(NamedTuple):
    """One repository of the upstream: v1 is in the cache, its layer is not, v2 and its image are not."""

    api: Api
    path: str
    here: Manifest
    absent: Manifest

    def ask(self, what: str) -> httpx.Response:
        return self.api.anybody.get(f"/v2/{self.path}/{what}")

    def ask_all(self, *whats: str) -> list[httpx.Response]:
        with concurrent.futures.ThreadPoolExecutor(len(whats)) as threads:
            return list(threads.map(self.ask, whats))


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Case]]:
    """Each fault with a repository of its own, pulled once while all was well; a limit is of a whole registry."""
    home = tmp_path_factory.mktemp("cache") / "entrepot"
    stores: dict[str, MemoryStore] = {}
    images: dict[str, tuple[Manifest, Manifest]] = {}
    for fault in ROWS:
        store = stores[f"{fault}/app"] = MemoryStore()
        images[fault] = pack_image(store, [{"file": fault}]), pack_image(store, [{"file": f"{fault} absent"}])
        for tag, image in zip(("v1", "v2"), images[fault], strict=True):
            store.put_tag(tag, image.digest)
    with ExitStack() as stack:
        upstream, limiting = (stack.enter_context(Upstream(stores)) for _ in range(2))
        down = Upstream(stores)
        for one in (upstream, limiting, down):
            one.has_referrers = True
        api = stack.enter_context(serve(home, upstream_attempts=1, read_timeout=1))
        made = {}
        with down:
            for path, remote in (("cache", upstream.host), ("429", limiting.host), ("down", down.host)):
                api.catalog.distributions.put(Distribution(path, "", NOW, NOW, remote=remote), actor="admin")
            for fault in ROWS:
                path = f"{fault if fault in ('down', '429') else 'cache'}/{fault}/app"
                made[fault] = case = Case(api, path, *images[fault])
                assert case.ask("manifests/v1").status_code == 200
        for fault in ROWS:
            _inject(limiting if fault == "429" else upstream, stores[f"{fault}/app"], fault)
        yield made


def _inject(upstream: Upstream, store: MemoryStore, fault: str) -> None:
    only = f"/{fault}/app/"
    if fault.isdecimal():
        upstream.fail(int(fault), only=only, retry_after="7" if fault == "429" else "")
    elif fault == "silent":
        for route in _ROUTES:
            upstream.silence(route=route, seconds=5, only=only)
    elif fault == "wrong":
        store.put_tag("v1", store.tagged["v2"])  # v1 has moved to what comes as something else
        upstream.faults.append(_other_bytes)


def _other_bytes(seen: Seen, good: Reply) -> Reply | None:
    if "/wrong/app/" not in seen.path or seen.method != "GET" or not good.body:
        return None
    good.body = b"x" * len(good.body)
    return good


def _is_stale(answer: httpx.Response) -> bool:
    return answer.status_code == 200 and answer.headers.get("warning", "").startswith("299 - ")


@pytest.mark.parametrize("fault", ROWS)
def test_what_is_here(cases: dict[str, Case], fault: str) -> None:
    case, row = cases[fault], ROWS[fault]
    digest = case.here.digest
    config = case.here.config
    assert config is not None
    tag, manifest, tags, blob = case.ask_all(
        "manifests/v1", f"manifests/{digest}", "tags/list", f"blobs/{config.digest}"
    )
    assert (manifest.status_code, manifest.content, "warning" in manifest.headers) == (200, case.here.raw, False)
    assert (blob.status_code, "warning" in blob.headers) == (200, False)
    if row.gone:
        assert tag.status_code == 404
        assert (tags.json()["tags"], "warning" in tags.headers) == (["v1"], False)
    else:
        assert _is_stale(tag)
        assert tag.content == case.here.raw
        assert _is_stale(tags)
        assert tags.json()["tags"] == ["v1"]
    assert case.api.catalog.snapshots.get(case.path).version == 1


@pytest.mark.parametrize("fault", ROWS)
def test_what_is_not_here(cases: dict[str, Case], fault: str) -> None:
    case, row = cases[fault], ROWS[fault]
    layer = case.here.layers[0].digest
    answers = case.ask_all("manifests/v2", f"manifests/{case.absent.digest}", f"blobs/{layer}")
    assert [answer.status_code for answer in answers] == [row.absent] * 3
    told = {answer.headers.get("retry-after") for answer in answers}
    assert (
        told <= {str(left) for left in range(1, 8)} if fault == "429" else told == {None}
    )  # of 7 s some may have passed
    assert case.api.catalog.content.size(layer) is None
    assert case.api.catalog.content.size(case.absent.digest) is None


@pytest.mark.parametrize("fault", ROWS)
def test_referrers(cases: dict[str, Case], fault: str) -> None:
    case = cases[fault]
    answer = case.ask(f"referrers/{case.here.digest}")
    assert (answer.status_code, answer.json()["manifests"]) == (200, [])
    # What is no list of referrers counts as a registry that has none, and what its fallback tag shows as all there is.
    assert ("warning" in answer.headers) == (not ROWS[fault].gone and fault != "wrong")


@pytest.mark.parametrize("fault", [fault for fault in ROWS if fault not in ("wrong", "down", "silent")])
def test_a_name_of_which_nothing_is_known(cases: dict[str, Case], fault: str) -> None:
    case = cases[fault]
    nothing = f"/v2/{case.path.partition('/')[0]}/nothing/{fault}/app"
    lists = case.api.anybody.get(f"{nothing}/tags/list")
    manifest = case.api.anybody.get(f"{nothing}/manifests/{Digest.of(b'nothing')}")
    assert (lists.status_code, manifest.status_code) == (ROWS[fault].absent, ROWS[fault].absent)
