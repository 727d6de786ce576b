"""Blobs that a version holds and the store does not: fetched from where they can be."""

from contextlib import aclosing
from typing import NamedTuple

from catalog.blobs.origins import BlobSource
from catalog.catalog import Catalog
from catalog.content.copy_ends import RepositoryTarget
from catalog.remotes.clients import Upstreams
from catalog.versions.snapshot import Snapshot
from oci.descriptor import Descriptor
from oci.digest import Digest
from oci.errors import BlobUnknown, DigestInvalid, RemoteCorrupt, RemoteError, SizeInvalid


class Absent(NamedTuple):
    """A blob of a repository's latest version that is not in the store, and where it can be fetched."""

    snapshot: Snapshot
    digest: Digest
    size: int
    sources: tuple[BlobSource, ...]


async def fetch_blob(catalog: Catalog, upstreams: Upstreams, blob: Absent) -> None:
    """Fetch a blob into the store, from one source after the other; raise BlobUnknown where there is none, or what the last one
    failed with."""
    wanted = Descriptor("application/octet-stream", blob.digest, blob.size)
    failure: RemoteError | None = None
    waiting = upstreams.in_order(blob.sources)
    while waiting:
        source = waiting.pop(0)
        upstream = await upstreams.repository(source.remote)
        target = RepositoryTarget(catalog, blob.snapshot, source=upstream)
        try:
            if await target.has(wanted):
                return
            async with aclosing(upstream.read_blob(wanted)) as chunks:  # type: ignore[type-var]  # an async generator
                await target.write_blob(wanted, chunks)
        except (DigestInvalid, SizeInvalid) as error:
            failure = RemoteCorrupt(f"sent another blob: {error}", registry=source.remote.host)
            if upstream.report_corrupt(failure, blob.digest):
                waiting.insert(0, source)
        except RemoteError as error:
            failure = error
        else:
            return
    raise failure or BlobUnknown("nothing says where it can be fetched")
