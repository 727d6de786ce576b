"""What becomes of uploads that break off, cannot go on, lose their answer or are killed."""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator

import pytest
from pydantic import SecretStr

from catalog.catalog import Catalog
from oci.descriptor import Descriptor
from oci.digest import Digest
from oci.errors import DigestInvalid, RemoteUnavailable
from oci.memory import MemoryStore
from oci.pack import pack_image
from oci.remote.repository import RemoteRepository
from oci.remote.transport import RemoteTransport
from tests.flows.push.conftest import LARGE, Push, actions, add, big, digest_at, image, tags_at
from tests.proxy import Proxy
from tests.servers import Children, EntrepotServer, get

pytestmark = pytest.mark.slow


def test_an_upload_that_breaks_off_is_taken_up_where_it_stood(
    push: Push, catalog: Catalog, second: EntrepotServer
) -> None:
    made, blob = big(catalog, "big/app")
    with Proxy(second.url) as proxy:
        catalog.settings.logins[proxy.host] = SecretStr(second.creds)
        proxy.cuts += [("PATCH", 3_000_000), ("PATCH", 2_500_000)]
        assert actions(push(source="big/app", target=f"{proxy.host}/big/app")) == {"big/app:v1": "added"}
        assert proxy.counts["PATCH", "upload"] == 3
        assert proxy.counts["GET", "upload"] == 2  # it was asked how far it had come
        assert proxy.uploaded() < len(LARGE) + 200_000
    assert digest_at(second.host, "big/app", "v1") == made.digest
    assert get(f"{second.url}/v2/big/app/blobs/{blob}").content == LARGE


def test_an_upload_whose_session_cannot_go_on_is_begun_anew(push: Push, catalog: Catalog, proxy: Proxy) -> None:
    """docker-registry refuses to go on after a break within a request."""
    _made, blob = big(catalog, "big/anew")
    proxy.cuts.append(("PATCH", 3_000_000))
    assert actions(push(source="big/anew", target=f"{proxy.host}/big/anew")) == {"big/anew:v1": "added"}
    assert proxy.counts["PATCH", "upload"] == 2
    assert get(f"http://{proxy.host}/v2/big/anew/blobs/{blob}").content == LARGE


def test_an_upload_that_never_goes_on_is_given_up(proxy: Proxy) -> None:
    descriptor = Descriptor("application/octet-stream", Digest.of(LARGE), len(LARGE))
    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)

    async def read(start: int) -> AsyncIterator[bytes]:
        yield LARGE[start:]

    async def main() -> None:
        async with RemoteTransport(proxy.host, sleep=sleep, jitter=lambda: 1.0) as transport:
            await RemoteRepository(transport, "big/never").uploads.upload(descriptor, read)

    proxy.refusals.append(("PATCH", "", 503))
    with pytest.raises(RemoteUnavailable, match="answered 503"):
        asyncio.run(main())
    assert proxy.counts["PATCH", "upload"] == 6  # the first had bytes that no earlier one had
    assert pauses == [0.5, 1.0, 2.0, 4.0, 8.0]


def test_bytes_that_are_not_the_blob_s_are_refused_and_leave_no_session(proxy: Proxy) -> None:
    descriptor = Descriptor("application/octet-stream", Digest.of(LARGE), len(LARGE))

    async def read(_start: int) -> AsyncIterator[bytes]:
        yield LARGE[:-1] + b"?"

    async def main() -> None:
        async with RemoteTransport(proxy.host) as transport:
            await RemoteRepository(transport, "big/wrong").uploads.upload(descriptor, read)

    with pytest.raises(DigestInvalid, match="expected sha256"):
        asyncio.run(main())
    assert proxy.counts["DELETE", "upload"] == 1
    assert proxy.counts["PUT", "upload"] == 0


def test_an_answer_that_was_lost_is_not_sent_twice(push: Push, catalog: Catalog, proxy: Proxy) -> None:
    image(catalog, "lost/app", "v1")
    proxy.cuts.append(("PUT", 0))  # the first closing request breaks off before its body
    assert actions(push(source="lost/app", target=f"{proxy.host}/lost/app")) == {"lost/app:v1": "added"}
    assert len(proxy.closed()) == len(set(proxy.closed()))


def test_killed_and_run_again_uploads_nothing_twice(
    push: Push, catalog: Catalog, proxy: Proxy, children: Children
) -> None:
    store = MemoryStore()
    tags = {f"v{number}": pack_image(store, [{"shared": "all"}, {"own": str(number)}]) for number in range(10)}
    add(catalog, "killed/app", store, **tags)
    target = f"{proxy.host}/killed/app"
    for after in (3, 11):
        command = [sys.executable, "-m", "tests.flows.push.push_once", str(catalog.settings.root), "killed/app", target]
        child = children.add("push", command)
        child.start()
        proxy.after_closed(after, child.signal, signal.SIGKILL)
        assert child.wait(120) == -signal.SIGKILL
    assert tags_at(proxy.host, "killed/app") == []
    push(source="killed/app", target=target)
    assert {tag: digest_at(proxy.host, "killed/app", tag) for tag in tags} == {
        tag: one.digest for tag, one in tags.items()
    }
    assert len(proxy.closed()) == len(set(proxy.closed())) == len(store.blobs)
