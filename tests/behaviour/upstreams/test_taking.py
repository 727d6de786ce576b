"""Each odd registry of the table is pushed to: all of an image arrives, and no large blob is sent more often than it must be."""

import asyncio
import json
import re
from collections.abc import Iterator

import pytest

from catalog.catalog import Catalog, open_catalog
from catalog.remotes.clients import Upstreams
from catalog.settings import read_settings
from catalog.signing.stored import stage
from catalog.versions.changes import AddManifest, SetTag
from flows.push.context import PushContext
from flows.push.procedure import run_push
from flows.push.report import PushResult
from flows.push.request import PushRequest
from oci.errors import RemoteError
from oci.manifest import Manifest, parse_manifest
from oci.memory import MemoryStore
from oci.pack import pack_artifact, pack_image
from tests.behaviour.upstreams.taking import TAKING, Asked, Flaw, Taker, Told
from tests.homes import new_home
from tests.unit.catalog.conftest import commit_to

LARGE = bytes(range(256)) * 20_000  # 5 MB: more than goes with the closing request


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Catalog]:
    home = new_home(tmp_path_factory.mktemp("odd") / "entrepot")
    with open_catalog(read_settings(home=home, upstream_attempts=2)) as opened:
        yield opened


@pytest.fixture(scope="module")
def content(catalog: Catalog) -> tuple[MemoryStore, Manifest, Manifest]:
    """An image with one layer that is large, and what refers to it."""
    store = MemoryStore()
    image = pack_artifact(store, "", [("application/vnd.oci.image.layer.v1.tar", LARGE)])
    del store.manifests[image.digest]
    config = pack_image(store, [{"a": "small"}])
    raw = config.raw.replace(b'"layers":[', b'"layers":[' + _descriptor(image) + b",")
    image = parse_manifest(raw, config.media_type)
    store.manifests[image.digest] = image
    referrer = pack_artifact(store, "application/vnd.test.sbom", [("text/plain", b"an sbom")], subject=image)
    stage(catalog, "odd/app", store)
    commit_to(
        catalog,
        "odd/app",
        AddManifest(image.descriptor),
        AddManifest(referrer.descriptor),
        SetTag("v1", image.digest),
        operation_id="odd",
    )
    return store, image, referrer


def _descriptor(manifest: Manifest) -> bytes:
    return json.dumps(manifest.layers[0].to_json()).encode()


@pytest.fixture(params=TAKING)
def flaw(request: pytest.FixtureRequest) -> Flaw:
    return TAKING[request.param]


def push(catalog: Catalog, taker: Taker) -> PushResult:
    async def whole() -> PushResult:
        async with Upstreams(catalog.settings, catalog.remotes) as upstreams:
            request = PushRequest.model_validate({"source": "odd/app", "target": f"http://{taker.host}/team/app"})
            return await run_push(PushContext(request, catalog, upstreams))

    return asyncio.run(whole())


def test_it_is_pushed_to(flaw: Flaw, catalog: Catalog, content: tuple[MemoryStore, Manifest, Manifest]) -> None:
    store, image, referrer = content
    with Taker() as taker:
        flaw.make(taker)
        result = push(catalog, taker)
        assert taker.tags["v1"] == image.digest
        assert taker.manifests[image.digest][1] == image.raw
        for _role, part in image.children():
            assert taker.blobs[part.digest] == store.blobs[part.digest]
        assert (referrer.digest in taker.manifests) != flaw.lacks_referrer
        listed = taker.manifests.get(taker.tags.get(f"sha256-{image.digest.encoded}", ""), ("", b""))[1]
        assert (referrer.digest.encode() in listed) != flaw.lacks_referrer
        sent = sum(len(one.body) > len(LARGE) // 2 for one in taker.asked if "/uploads/" in one.path)
        assert sent <= flaw.sent
        for pattern in flaw.notes:
            assert [note for note in result.notes if re.search(pattern, note)], result.notes


def test_a_token_that_no_body_is_taken_with_ends_the_push_after_one_more_try(
    catalog: Catalog, content: tuple[MemoryStore, Manifest, Manifest]
) -> None:
    with Taker() as taker:

        def refuse(_taker: Taker, asked: Asked) -> Told | None:
            if asked.path == "/token":
                return Told(200, body=b'{"token":"t"}')
            challenge = {"www-authenticate": f'Bearer realm="http://{taker.host}/token"'}
            if asked.headers.get("authorization") != "Bearer t" or asked.method == "PATCH":
                return Told(401, challenge)
            return None

        taker.begin.append(refuse)
        with pytest.raises(RemoteError):
            push(catalog, taker)
        assert taker.count("PATCH") == 2
