"""Commands that pull content as pasted, by its kind and by the address that the visitor uses."""

from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import BaseModel
from starlette.types import Scope

from catalog.settings import Settings
from registry_api.http.forwarded import HOST
from registry_api.http.hosts import Hosts
from registry_api.http.messages import find_header


class PullOut(BaseModel):
    """A command that pulls, and the client that it is for."""

    client: str
    command: str


@dataclass(frozen=True, slots=True)
class Address:
    """The registry's own address for clients: `host[:port]`, and whether it is plain HTTP."""

    host: str
    is_plain: bool


def find_address(hosts: Hosts, settings: Settings, scope: Scope) -> Address:
    """Return the address by which the visitor reaches us; where the request's host is none of ours, where we listen."""
    base = hosts.base_url(scope)
    if base is None:
        host = (find_header(scope, b"host") or b"").decode("latin-1")
        is_tls = scope.get("scheme") == "https"
        return Address(host if HOST.fullmatch(host) else settings.listen, is_plain=not is_tls)
    scheme, _, host = base.partition("://")
    return Address(host, is_plain=scheme == "http")


def pull_commands(kind: str, address: Address, name: str, tag: str, digest: str) -> Sequence[tuple[str, str]]:
    """Return commands with the client that each is for; `tag` is empty for content by digest. Pure.

    Names, tags and digests have no character that a shell reads.
    """
    reference = f"{address.host}/{name}:{tag}" if tag else f"{address.host}/{name}@{digest}"
    plain = " --plain-http" if address.is_plain else ""
    match kind:
        case "helm":
            version = f" --version {tag.replace('_', '+')}" if tag else f" --version {digest}"
            return [("helm", f"helm pull{plain} oci://{address.host}/{name}{version}")]
        case "flatpak":
            scheme = "oci+http" if address.is_plain else "oci+https"
            return [("flatpak", f"flatpak remote-add --user --if-not-exists entrepot {scheme}://{address.host}")]
        case "image" | "index" | "bootable":
            insecure = " --tls-verify=false" if address.is_plain else ""
            return [("podman", f"podman pull{insecure} {reference}"), ("docker", f"docker pull {reference}")]
    return [("oras", f"oras pull{plain} {reference}")]
