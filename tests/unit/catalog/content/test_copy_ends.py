"""What a copy into a repository leaves behind when it is broken off."""

import asyncio
import errno
import os
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from catalog.blobs.uploads import Uploads, UploadSession
from catalog.catalog import Catalog
from catalog.content.copy_ends import RepositoryTarget
from catalog.versions.snapshot import Snapshot
from oci.descriptor import Descriptor
from oci.digest import Digest
from oci.errors import StorageFull

DATA = b"a layer" * 1000
LAYER = Descriptor("application/octet-stream", Digest.of(DATA), len(DATA))


def staged(home: Path) -> list[Path]:
    return list((home / "blobs" / "staging").iterdir())


async def chunks() -> AsyncIterator[bytes]:
    yield DATA


def no_room(*_args: object) -> int:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_manifest_for_which_there_is_no_room_leaves_nothing(
    catalog: Catalog, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "pwrite", no_room)
    with pytest.raises(StorageFull):
        catalog.content.put(DATA, LAYER.digest, "team/app")
    assert staged(home) == []


@pytest.mark.parametrize("step", ["begin", "write", "finish"])
def test_a_copy_cancelled_while_a_thread_is_at_it_ends_after_the_thread_and_leaves_nothing(
    catalog: Catalog, home: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    owner = Uploads if step == "begin" else UploadSession
    real, entered, go_on, left = getattr(owner, step), threading.Event(), threading.Event(), threading.Event()

    def slow(*args: object, **kwargs: object) -> object:
        entered.set()
        assert go_on.wait(10)
        result = real(*args, **kwargs)
        left.set()
        return result

    monkeypatch.setattr(owner, step, slow)

    async def cancel_in_the_middle() -> None:
        target = RepositoryTarget(catalog, Snapshot("team/app", 0))
        copy = asyncio.create_task(target.write_blob(LAYER, chunks()))
        await asyncio.to_thread(entered.wait, 10)
        copy.cancel()
        asyncio.get_running_loop().call_later(0.05, go_on.set)
        with pytest.raises(asyncio.CancelledError):
            await copy
        assert left.is_set(), "the copy was left while its thread still had the file"

    asyncio.run(cancel_in_the_middle())
    assert staged(home) == []
