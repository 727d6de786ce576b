"""Taking a bundle in: everything is verified and staged first, then each repository gets its version in one commit."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from catalog.bundles.files import CHUNK, open_bundle
from catalog.bundles.format import (
    DOCUMENT,
    MAX_DOCUMENT,
    BundledVersion,
    BundleInvalid,
    Contents,
    blob_path,
    parse_contents,
)
from catalog.catalog import Catalog
from oci.digest import Digest
from oci.errors import DigestInvalid, SizeInvalid
from oci.manifest import required_blobs

Files = Iterator[tuple[str, int, IO[bytes]]]


def read_contents(path: Path) -> Contents:
    """Return what a bundle says it holds; raise BundleInvalid."""
    with open_bundle(path) as files:
        return _first_document(path, files)


def _first_document(path: Path, files: Files) -> Contents:
    name, size, source = next(files, ("", 0, None))
    if name != DOCUMENT or source is None:
        raise BundleInvalid(f"{path} is not a bundle of ours: it does not begin with {DOCUMENT}")
    if size > MAX_DOCUMENT:
        raise BundleInvalid(f"{path}: {DOCUMENT} has {size} bytes, more than the limit of {MAX_DOCUMENT}")
    return parse_contents(source.read(), where=str(path))


def check_base(catalog: Catalog, contents: Contents) -> None:
    """Raise BundleInvalid when a differential bundle's base is not in the repository here: content that it left out is missing.

    What other repositories hold does not count: a bundle may name any digest.
    """
    for one in contents.versions:
        left_out = [digest for digest in one.manifests if digest not in contents.blobs]
        known = catalog.offers.manifests(one.repository, left_out) if left_out else set()
        missing = [digest for digest in left_out if digest not in known or catalog.content.size(digest) is None]
        if missing:
            base = f"version {one.since} of {one.repository}" if one.since else f"all of {one.repository}"
            raise BundleInvalid(
                f"the bundle builds on {base}, which is not held here: {len(missing)} manifests are missing, such as "
                f"{missing[0]}; import the bundle of that version first, or export without --since"
            )


def stage_bundle(catalog: Catalog, path: Path, on_bytes: Callable[[int], None]) -> Contents:
    """Verify every file and keep its content for the repositories that need it; raise BundleInvalid, naming the bad file.

    Nothing is visible yet. What was staged before a failure is leased for a while, so that a second try skips it.
    """
    with open_bundle(path) as files:
        contents = _first_document(path, files)
        check_base(catalog, contents)
        media_types = {
            digest: (one.repository, entry.media_type)
            for one in contents.versions
            for digest, entry in one.manifests.items()
        }
        expected = {blob_path(digest): digest for digest in contents.blobs}
        owner = contents.versions[0].repository if contents.versions else ""
        seen: set[Digest] = set()
        for name, size, source in files:
            digest = expected.get(name)
            if digest is None:
                if name.startswith("blobs/"):
                    raise BundleInvalid(f"{path} holds {name}, which {DOCUMENT} does not list")
                continue
            if size != contents.blobs[digest]:
                raise BundleInvalid(f"{path}: {name} has {size} bytes, but {contents.blobs[digest]} are announced")
            repository, media_type = media_types.get(digest, (owner, ""))
            _stage(catalog, path, name, repository, digest, media_type, source, on_bytes)
            seen.add(digest)
        lost = contents.blobs.keys() - seen
        if lost:
            raise BundleInvalid(
                f"{path} is truncated: {len(lost)} of its {len(contents.blobs)} blobs are missing, such as {min(lost)}"
            )
    for one in contents.versions:
        _lease(catalog, one, contents)
    return contents


def _stage(
    catalog: Catalog,
    path: Path,
    name: str,
    repository: str,
    digest: Digest,
    media_type: str,
    source: IO[bytes],
    on_bytes: Callable[[int], None],
) -> None:
    session = catalog.uploads.begin(repository)
    try:
        while chunk := source.read(CHUNK):
            session.write(chunk)
            on_bytes(len(chunk))
        session.finish(digest, media_type=media_type)
    except (DigestInvalid, SizeInvalid) as error:
        raise BundleInvalid(f"{path}: {name} is damaged: {error}; nothing was imported") from None
    finally:
        session.cancel()


def _lease(catalog: Catalog, one: BundledVersion, contents: Contents) -> None:
    """Lease the version's manifests to its repository, and of their blobs those that the bundle has brought."""
    for digest, entry in one.manifests.items():
        if not catalog.content.linked(one.repository, digest):
            catalog.content.link(one.repository, digest, entry.media_type)
        for blob in required_blobs(catalog.manifests.read(digest, entry.media_type)):
            if blob.digest in contents.blobs:
                catalog.content.lease(one.repository, blob.digest)
