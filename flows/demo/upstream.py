"""A small upstream's content, made here so that the first run works offline: what real registries hold, in little."""

from pathlib import Path

from catalog.access.store import ADMINISTRATOR, ensure_administrator, password_file
from catalog.settings import Settings
from oci.copy import GraphCopier
from oci.manifest import Manifest
from oci.memory import MemoryStore
from oci.pack import pack_artifact, pack_image, pack_index
from oci.platform import Platform
from oci.remote.address import parse_remote
from oci.remote.auth.keychain import Credential
from oci.remote.repository import RemoteRepository
from oci.remote.transport import RemoteTransport

NAME = "demo/hello"
_PLATFORMS = (Platform("linux", "amd64"), Platform("linux", "arm64"))


_STATE = ("ENTREPOT_CATALOG", "ENTREPOT_STORAGE", "ENTREPOT_TLS_CERT", "ENTREPOT_TLS_KEY")
DEMO_ENVIRONMENT: dict[str, str | None] = dict.fromkeys(_STATE)
"""What of the user's settings is not for the demo upstream, whose state is its own."""


def demo_settings(settings: Settings, listen: str) -> Settings:
    """The settings of the demo upstream: a home of its own, everything else as by default."""
    values = {"home": settings.root / "demo", "listen": listen, "catalog": "", "storage": ""}
    return Settings(**values, tls_cert=None, tls_key=None)  # type: ignore[arg-type]  # the rest has defaults


def make_content() -> tuple[MemoryStore, list[Manifest]]:
    """Tags of single images, a two-platform index, a docker schema 2 image; and an artifact that no tag names but that
    has the index as its subject. The second value is what to copy."""
    store = MemoryStore(NAME)
    for version in ("1.0.0", "1.1.0"):
        store.put_tag(version, _index(store, version).digest)
    store.put_tag("latest", store.tagged["1.1.0"])
    store.put_tag("1.1.0-amd64", _image(store, "1.1.0", _PLATFORMS[0]).digest)
    docker = pack_image(store, [_files("1.1.0", _PLATFORMS[0])], config=_config("1.1.0"), docker=True)
    store.put_tag("1.1.0-docker", docker.digest)
    latest = store.manifests[store.tagged["latest"]]
    bill = b'{"spdxVersion":"SPDX-2.3","SPDXID":"SPDXRef-DOCUMENT","name":"hello","dataLicense":"CC0-1.0"}'
    sbom = pack_artifact(store, "application/spdx+json", [("application/spdx+json", bill)], subject=latest)
    tagged = [store.manifests[digest] for digest in store.tagged.values()]
    return store, [*dict.fromkeys(tagged), sbom]


def _index(store: MemoryStore, version: str) -> Manifest:
    return pack_index(store, [(_image(store, version, platform), platform) for platform in _PLATFORMS])


def _image(store: MemoryStore, version: str, platform: Platform) -> Manifest:
    base = {"etc/os-release": 'NAME="hello"\nID=hello\n', "tmp/": ""}
    return pack_image(store, [base, _files(version, platform)], platform=platform, config=_config(version))


def _files(version: str, platform: Platform) -> dict[str, str]:
    return {"hello.txt": f"Hello from {NAME} {version} for {platform}.\n", f"usr/share/doc/hello/{version}": version}


def _config(version: str) -> dict[str, object]:
    return {"Cmd": ["/hello.txt"], "Labels": {"org.opencontainers.image.version": version}}


async def seed(settings: Settings, url: str) -> str:
    """Push the content to the registry that runs with `settings` at `url`; return the remote. What is there stays."""
    store, roots = make_content()
    remote = parse_remote(f"{url}/{NAME}")
    ensure_administrator(settings)
    login = Credential(ADMINISTRATOR, _read_password(password_file(settings)))
    async with RemoteTransport(remote.host, scheme=remote.scheme, find_credential=lambda: login) as transport:
        repository = RemoteRepository(transport, NAME)
        copier = GraphCopier(store, repository)
        try:
            for root in roots:
                await copier.copy(root.descriptor)
        finally:
            await copier.close()
        held = await _tags_of(repository)
        for tag, digest in store.tagged.items():
            if tag not in held or (await repository.resolve(tag)).digest != digest:
                await repository.write_tag(tag, store.manifests[digest])
    return str(remote)


async def _tags_of(repository: RemoteRepository) -> set[str]:
    return {tag async for tag in repository.tags()}


def _read_password(file: Path) -> str:
    return file.read_text().strip()
