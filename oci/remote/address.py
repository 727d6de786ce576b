"""What a user types to name an upstream."""

from dataclasses import dataclass, replace

from oci.errors import NameInvalid
from oci.reference import Reference, parse_reference


@dataclass(frozen=True, slots=True)
class Remote:
    """An upstream repository; `scheme` is http or https where the user chose one, else empty."""

    reference: Reference
    scheme: str = ""

    @property
    def host(self) -> str:
        """host[:port] of the registry."""
        return self.reference.registry

    def repository_only(self) -> "Remote":
        """Return the same without tag and digest."""
        return replace(self, reference=replace(self.reference, tag=None, digest=None))

    def __str__(self) -> str:
        return f"{self.scheme}://{self.reference}" if self.scheme else str(self.reference)


def parse_remote(text: str) -> Remote:
    """Read `[http://|https://|docker://]host[:port]/name[:tag][@digest]`; raise NameInvalid."""
    scheme, separator, rest = text.partition("://")
    if not separator:
        return Remote(parse_reference(text))
    if scheme not in ("http", "https", "docker"):
        raise NameInvalid(f"not a remote: {text[:200]!r}; its scheme may be https, http or docker")
    if "@" in rest.partition("/")[0]:
        raise NameInvalid("a remote cannot hold a login; put it into auth.json (podman login), or ENTREPOT_LOGINS")
    return Remote(parse_reference(rest), "" if scheme == "docker" else scheme)
