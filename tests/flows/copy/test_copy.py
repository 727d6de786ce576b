"""Copies between two real registries: what is sent, what is not, and that nothing of it stays here."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from catalog.remotes.clients import Upstreams
from catalog.settings import Settings, read_settings
from flows.copy.procedure import open_copy, run_copy
from flows.copy.report import CopyFailed, CopyResult
from flows.copy.request import CopyRequest
from oci.copy import copy_graph
from oci.errors import InvalidInput, RemoteNotFound
from oci.layout import Layout
from oci.manifest import Manifest, parse_manifest
from oci.mediatypes import ACCEPT
from oci.memory import MemoryStore
from oci.pack import pack_artifact, pack_image, pack_index
from oci.platform import Platform
from oci.remote.auth.keychain import Credential
from oci.remote.repository import RemoteRepository
from oci.remote.transport import RemoteTransport
from tests.cli.commands import Entrepot
from tests.conftest import EntrepotFactory
from tests.flows.push.conftest import digest_at, list_at, tags_at
from tests.proxy import Proxy
from tests.servers import Children, DockerRegistry, EntrepotServer, get, start_docker_registry, wait_until

AMD, ARM = Platform("linux", "amd64"), Platform("linux", "arm64")
SIGNATURE = "application/vnd.dev.cosign.artifact.sig.v1+json"
SBOM = "application/spdx+json"

Copy = Callable[..., CopyResult]


@pytest.fixture(scope="module")
def first(module_children: Children) -> DockerRegistry:
    """Has no API of referrers."""
    return start_docker_registry(module_children)


@pytest.fixture(scope="module")
def second(module_children: Children) -> DockerRegistry:
    return start_docker_registry(module_children)


@pytest.fixture(scope="module")
def modern(module_entrepot_server: EntrepotFactory) -> EntrepotServer:
    """Has the API of referrers."""
    return module_entrepot_server()


@pytest.fixture
def proxy(second: DockerRegistry) -> Iterator[Proxy]:
    with Proxy(second.url) as served:
        yield served


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return read_settings(home=tmp_path / "entrepot", upstream_attempts=2)


@pytest.fixture
def copy(settings: Settings) -> Copy:
    """Copies as the command does; the home that it would have is not made."""

    def run(source: str, target: str, **fields: object) -> CopyResult:
        request = CopyRequest.model_validate({"source": source, "target": target, **fields})

        async def whole() -> CopyResult:
            async with Upstreams(settings, None) as upstreams:
                return await run_copy(await open_copy(request, settings, upstreams))

        try:
            return asyncio.run(whole())
        finally:
            assert not settings.root.exists()

    return run


def put(host: str, name: str, store: MemoryStore) -> None:
    """Push all of a store into a registry, lists of referrers aside."""

    async def push() -> None:
        async with RemoteTransport(host) as transport:
            target = RemoteRepository(transport, name)
            for manifest in store.manifests.values():
                await copy_graph(store, target, manifest.descriptor)
            for tag, digest in store.tagged.items():
                await target.write_tag(tag, store.manifests[digest])

    asyncio.run(push())


def two_platforms(store: MemoryStore, tag: str, text: str) -> Manifest:
    amd = pack_image(store, [{"file": f"{text} amd"}], platform=AMD)
    arm = pack_image(store, [{"file": f"{text} arm"}], platform=ARM)
    index = pack_index(store, [(amd, AMD), (arm, ARM)])
    store.put_tag(tag, index.digest)
    return index


def actions(result: CopyResult) -> dict[str, str]:
    return {item.tag: item.action for item in result.items}


def test_tags_by_pattern_with_all_platforms_and_the_second_time_nothing(
    copy: Copy, first: DockerRegistry, proxy: Proxy, second: DockerRegistry
) -> None:
    store = MemoryStore()
    wanted = two_platforms(store, "v1.0", "one")
    two_platforms(store, "v2.0", "two")
    put(first.host, "pattern/app", store)
    result = copy(f"{first.host}/pattern/app", f"{proxy.host}/copied/app", include=["v1.*"])
    assert actions(result) == {"v1.0": "added"}
    assert (digest_at(second.host, "copied/app", "v1.0"), tags_at(second.host, "copied/app")) == (
        wanted.digest,
        ["v1.0"],
    )
    assert proxy.counts["PUT", "manifest"] == 4  # two images, the index by its digest and by its tag
    puts = [one.path.rpartition("/")[2] for one in proxy.seen if one.method == "PUT" and "/manifests/" in one.path]
    assert puts[-2:] == [wanted.digest, "v1.0"]  # children before lists, tags last
    proxy.seen.clear()
    again = copy(f"{first.host}/pattern/app", f"{proxy.host}/copied/app", include=["v1.*"], companions=[])
    assert (actions(again), again.moved_items) == ({"v1.0": "unchanged"}, 0)
    assert [one.method for one in proxy.seen if "/v2/copied" in one.path] == ["HEAD"]


def test_a_dry_run_asks_and_sends_nothing(copy: Copy, first: DockerRegistry, proxy: Proxy) -> None:
    store = MemoryStore()
    two_platforms(store, "v1", "dry")
    put(first.host, "dry/app", store)
    result = copy(f"{first.host}/dry/app", f"{proxy.host}/dry/copied", dry_run=True)
    assert (actions(result), result.moved_items) == ({"v1": "added"}, 3 + 4)
    assert {one.method for one in proxy.seen} <= {"HEAD", "GET"}


def test_companions_come_along_in_either_form(
    copy: Copy, first: DockerRegistry, modern: EntrepotServer, second: DockerRegistry, settings: Settings
) -> None:
    store = MemoryStore()
    index = two_platforms(store, "v1", "signed")
    amd = store.manifests[index.manifests[0].digest]
    cosign = pack_artifact(store, SIGNATURE, [("text/plain", b"signature")])
    store.put_tag(f"sha256-{amd.digest.encoded}.sig", cosign.digest)
    sbom = pack_artifact(store, SBOM, [(SBOM, b"{}")], subject=amd)
    about_sbom = pack_artifact(store, SIGNATURE, [("text/plain", b"of the sbom")], subject=sbom)
    put(first.host, "signed/app", store)
    old = settings.model_copy(update={"logins": read_settings(logins={modern.host: modern.creds}).logins})

    def run(source: str, target: str, **fields: object) -> CopyResult:
        request = CopyRequest.model_validate({"source": source, "target": target, **fields})

        async def whole() -> CopyResult:
            async with Upstreams(old, None) as upstreams:
                return await run_copy(await open_copy(request, old, upstreams))

        return asyncio.run(whole())

    # The source has neither an API of referrers nor lists under tags: there is nothing that leads to the SBOM.
    bare = run(f"{first.host}/signed/app:v1", f"{modern.host}/signed/app")
    assert actions(bare) == {"v1": "added", f"sha256-{amd.digest.encoded}.sig": "added"}
    put_modern = {one.digest for one in (sbom, about_sbom)}
    _push_with_login(modern, "full/app", store)
    full = run(f"{modern.host}/full/app:v1", f"{second.host}/full/app")
    assert full.failed == {}
    for subject, referrer in ((amd, sbom), (sbom, about_sbom)):
        listed = list_at(second.host, "full/app", subject.digest)["manifests"]
        assert [one["digest"] for one in listed] == [referrer.digest]
        assert digest_at(second.host, "full/app", referrer.digest) == referrer.digest
    assert len(put_modern) == 2
    back = run(f"{second.host}/full/app:v1", f"{modern.host}/back/app")
    assert back.failed == {}
    shown = get(f"{modern.url}/v2/back/app/referrers/{amd.digest}", login=modern.creds).json()["manifests"]
    assert [one["digest"] for one in shown] == [sbom.digest]
    without = run(f"{modern.host}/full/app:v1", f"{second.host}/bare/app", companions=[])
    assert actions(without) == {"v1": "added"}
    assert tags_at(second.host, "bare/app") == ["v1"]
    some = run(f"{modern.host}/full/app:v1", f"{second.host}/some/app", companions=["sbom"])
    assert actions(some) == {"v1": "added"}
    assert digest_at(second.host, "some/app", sbom.digest) == sbom.digest
    assert digest_at(second.host, "some/app", about_sbom.digest) is None


def _push_with_login(server: EntrepotServer, name: str, store: MemoryStore) -> None:
    async def push() -> None:
        login = Credential(*server.auth)
        async with RemoteTransport(server.host, find_credential=lambda: login) as transport:
            target = RemoteRepository(transport, name, for_push=True)
            for manifest in store.manifests.values():
                await copy_graph(store, target, manifest.descriptor)
            for tag, digest in store.tagged.items():
                await target.write_tag(tag, store.manifests[digest])

    asyncio.run(push())


def test_some_platforms_are_copied_under_an_index_of_their_own(
    copy: Copy, first: DockerRegistry, proxy: Proxy, second: DockerRegistry
) -> None:
    store = MemoryStore()
    index = two_platforms(store, "v1", "platforms")
    put(first.host, "platforms/app", store)
    result = copy(f"{first.host}/platforms/app", f"{proxy.host}/platforms/arm", platforms=["linux/arm64"])
    assert actions(result) == {"v1": "added"}
    assert "other digests than at the source" in result.notes[0]
    url = f"{second.url}/v2/platforms/arm/manifests/{result.items[0].digest}"
    narrowed = parse_manifest(httpx.get(url, headers={"accept": ACCEPT}, trust_env=False).content)
    assert [child.platform for child in narrowed.manifests] == [ARM]
    assert narrowed.manifests[0].digest == index.manifests[1].digest
    assert digest_at(second.host, "platforms/arm", index.manifests[0].digest) is None
    again = copy(f"{first.host}/platforms/app", f"{proxy.host}/platforms/arm", platforms=["linux/arm64"])
    assert actions(again) == {"v1": "unchanged"}
    with pytest.raises(CopyFailed, match=r"has none of linux/s390x; it has linux/amd64, linux/arm64"):
        copy(f"{first.host}/platforms/app", f"{proxy.host}/platforms/no", platforms=["linux/s390x"])


def test_within_one_registry_blobs_are_mounted(copy: Copy, proxy: Proxy, second: DockerRegistry) -> None:
    store = MemoryStore()
    two_platforms(store, "v1", "mounted")
    put(second.host, "mount/source", store)
    result = copy(f"{proxy.host}/mount/source:v1", f"{proxy.host}/mount/target:stable")
    assert (result.mounted, proxy.uploaded()) == (4, 0)
    assert not [one for one in proxy.seen if one.method == "GET" and "/blobs/" in one.path]
    assert digest_at(second.host, "mount/target", "stable") == store.tagged["v1"]


def test_what_cannot_be_copied_sets_no_tag_unless_it_is_to_be_skipped(
    copy: Copy, first: DockerRegistry, proxy: Proxy, second: DockerRegistry
) -> None:
    store = MemoryStore()
    bad = two_platforms(store, "bad", "bad")
    two_platforms(store, "good", "good")
    put(first.host, "failing/app", store)
    child = bad.manifests[0].digest
    proxy.refusals.append(("PUT", f"manifests/{child}", 403))
    with pytest.raises(CopyFailed, match="so no tag was set") as caught:
        copy(f"{first.host}/failing/app", f"{proxy.host}/failing/app")
    assert caught.value.failed.keys() == {"bad"}
    assert tags_at(second.host, "failing/app") == []
    result = copy(f"{first.host}/failing/app", f"{proxy.host}/failing/app", on_error="skip")
    assert actions(result) == {"bad": "failed", "good": "added"}
    assert tags_at(second.host, "failing/app") == ["good"]


def test_bytes_that_are_not_their_digest_never_become_a_blob(
    copy: Copy, first: DockerRegistry, second: DockerRegistry
) -> None:
    store = MemoryStore()
    image = pack_image(store, [{"file": "damaged"}])
    store.put_tag("v1", image.digest)
    put(first.host, "damaged/app", store)
    layer = image.layers[0].digest
    path = first.storage / "docker/registry/v2/blobs/sha256" / layer.encoded[:2] / layer.encoded / "data"
    path.write_bytes(bytes(path.stat().st_size))
    with pytest.raises(CopyFailed, match="is not its descriptor's"):
        copy(f"{first.host}/damaged/app:v1", f"{second.host}/damaged/copied")
    blob = f"{second.url}/v2/damaged/copied/blobs/{layer}"
    assert get(blob).status_code == 404


def test_an_upload_that_breaks_off_is_taken_up_again(copy: Copy, first: DockerRegistry, proxy: Proxy) -> None:
    store = MemoryStore()
    image = pack_artifact(store, "application/vnd.test", [("application/octet-stream", os.urandom(9_000_000))])
    store.put_tag("v1", image.digest)
    put(first.host, "broken/app", store)
    proxy.cuts.append(("PATCH", 3_000_000))
    result = copy(f"{first.host}/broken/app:v1", f"{proxy.host}/broken/copied")
    assert actions(result) == {"v1": "added"}
    assert proxy.uploaded() < 2 * 9_000_000


def test_tags_that_are_not_there_are_told(copy: Copy, first: DockerRegistry, second: DockerRegistry) -> None:
    store = MemoryStore()
    two_platforms(store, "v1", "told")
    put(first.host, "told/app", store)
    with pytest.raises(CopyFailed, match="answered 404"):
        copy(f"{first.host}/told/app:v9", f"{second.host}/told/app")
    with pytest.raises(InvalidInput, match="is selected; it has, for example: v1"):
        copy(f"{first.host}/told/app", f"{second.host}/told/app", include=["x*"])
    with pytest.raises(RemoteNotFound):
        copy(f"{first.host}/nothing", f"{second.host}/nothing")


def test_image_layouts_are_ends_too(copy: Copy, first: DockerRegistry, second: DockerRegistry, tmp_path: Path) -> None:
    store = MemoryStore()
    index = two_platforms(store, "v1", "layout")
    cosign = pack_artifact(store, SIGNATURE, [("text/plain", b"signature")])
    store.put_tag(f"sha256-{index.digest.encoded}.sig", cosign.digest)
    put(first.host, "layout/app", store)
    folder = tmp_path / "layout"
    planned = copy(f"{first.host}/layout/app", f"oci:{folder}", dry_run=True)
    assert actions(planned)["v1"] == "added"
    assert not folder.exists()
    copy(f"{first.host}/layout/app", f"oci:{folder}")
    assert {one.digest for one in Layout.open(folder).entries()} == {index.digest, cosign.digest}
    again = copy(f"{first.host}/layout/app", f"oci:{folder}")
    assert set(actions(again).values()) == {"unchanged"}
    copy(f"oci:{folder}", f"{second.host}/layout/app")
    assert digest_at(second.host, "layout/app", "v1") == index.digest
    assert tags_at(second.host, "layout/app") == [f"sha256-{index.digest.encoded}.sig", "v1"]


@pytest.mark.slow
def test_killed_in_the_middle_nothing_is_left_here_and_the_next_run_ends_it(
    copy: Copy, first: DockerRegistry, proxy: Proxy, second: DockerRegistry, children: Children, tmp_path: Path
) -> None:
    store = MemoryStore()
    blobs = [("application/octet-stream", os.urandom(1_000_000)) for _ in range(40)]
    artifact = pack_artifact(store, "application/vnd.test", blobs)
    store.put_tag("v1", artifact.digest)
    put(first.host, "killed/app", store)
    home, work = tmp_path / "home-of-none", tmp_path / "work"
    work.mkdir()
    source, target = f"{first.host}/killed/app:v1", f"{proxy.host}/killed/copied"
    command = [sys.executable, "-m", "tests.flows.copy.copy_once", str(home), source, target]
    child = children.start("copy", command, env={"TMPDIR": str(work), "HOME": str(work)})
    wait_until(lambda: len(proxy.closed()) >= 5, 60, "some blobs are there")
    child.signal(signal.SIGKILL)
    child.wait()
    assert not home.exists()
    assert list(work.rglob("*")) == []
    assert digest_at(second.host, "killed/copied", "v1") is None
    there = len(proxy.closed())
    assert there < 41
    proxy.seen.clear()
    result = copy(source, target)
    assert actions(result) == {"v1": "added"}
    assert len(proxy.closed()) <= 41 - there + 8  # those that were under way may go once more
    assert digest_at(second.host, "killed/copied", "v1") == artifact.digest


@pytest.mark.slow
def test_the_command_needs_no_home_and_makes_none(
    first: DockerRegistry, second: DockerRegistry, children: Children, tmp_path: Path
) -> None:
    entrepot, store = Entrepot(tmp_path / "no-home", children), MemoryStore()
    two_platforms(store, "v1", "command")
    put(first.host, "command/app", store)
    away = {"PREFECT_HOME": str(tmp_path / "no-prefect")}
    shown = entrepot("copy", f"{first.host}/command/app", f"{second.host}/command/copied", env=away)
    assert shown.returncode == 0, shown.stderr
    assert "1 added" in shown.stdout
    done = entrepot("copy", f"{first.host}/command/app", f"{second.host}/command/copied", "--json", env=away)
    assert json.loads(done.stdout)["tags"] == {"unchanged": 1}
    failed = entrepot("copy", f"{first.host}/command/app:v9", f"{second.host}/command/copied", env=away)
    assert (failed.returncode, "could not be copied" in failed.stderr) == (1, True)
    refused = entrepot("copy", f"{first.host}/command/app", f"{second.host}/command/copied:v1", env=away)
    assert refused.returncode == 2
    assert not (tmp_path / "no-home").exists()
    assert not (tmp_path / "no-prefect").exists()
