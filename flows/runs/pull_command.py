"""The one line a user pastes to try a repository: which tag, and how podman is to be called."""

import re

from catalog.settings import Settings
from catalog.versions.snapshot import Snapshot
from oci import mediatypes

_IMAGE_CONFIGS = frozenset({mediatypes.OCI_CONFIG, mediatypes.DOCKER_CONFIG})
_VERSION = re.compile(r"v?(\d+)(?:\.(\d+))?(?:\.(\d+))?")


def pick_tag(snapshot: Snapshot) -> str | None:
    """A tag that podman can pull: `latest`, else the highest plain version, else the last in order; None without any."""
    images = [tag for tag in snapshot.sorted_tags if _is_image(snapshot, tag)]
    if "latest" in images:
        return "latest"
    versions = [(version, tag) for tag in images if (version := _version_of(tag))]
    if versions:
        return max(versions)[1]
    return images[-1] if images else None


def _is_image(snapshot: Snapshot, tag: str) -> bool:
    entry = snapshot.manifests[snapshot.tags[tag]]
    if entry.media_type in mediatypes.INDEXES:
        return not entry.artifact_type and not re.fullmatch(r"sha(256|512)-[0-9a-f]+.*", tag)
    return entry.artifact_type in _IMAGE_CONFIGS


def _version_of(tag: str) -> tuple[int, ...]:
    found = _VERSION.fullmatch(tag)
    return tuple(int(part or 0) for part in found.groups()) if found else ()


def registry_address(settings: Settings) -> str:
    """host:port by which clients on this machine reach the registry."""
    host, port = settings.listen_address
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)  # noqa: S104
    return f"{host}:{port}"


def registry_url(settings: Settings) -> str:
    """The registry's URL on this machine."""
    return f"{'https' if settings.tls_cert else 'http'}://{registry_address(settings)}"


def pull_line(settings: Settings, name: str, tag: str) -> str:
    """The command, as pasted into a shell on this machine."""
    verify = "" if settings.tls_cert else "--tls-verify=false "
    return f"podman pull {verify}{registry_address(settings)}/{name}:{tag}"
