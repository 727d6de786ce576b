"""Other registries that have what a registry has. Source: containers-registries.conf(5), `mirror`."""

from dataclasses import dataclass

from oci.errors import InvalidInput
from oci.reference import Reference
from oci.remote.address import Remote, parse_remote

_DIGEST_ONLY = "digest-only"


@dataclass(frozen=True, slots=True)
class Mirror:
    """A registry, perhaps a part of its names, with or without a scheme; `digest_only`: it is not asked what tags point to."""

    place: str
    digest_only: bool = False


def parse_mirror(text: str) -> Mirror:
    """Read `[http://|https://]host[:port][/prefix][,digest-only]`; raise NameInvalid or InvalidInput."""
    place, comma, option = text.partition(",")
    if comma and option != _DIGEST_ONLY:
        raise InvalidInput(f"a mirror knows one option, {_DIGEST_ONLY}, not {option[:40]!r}")
    place = place.rstrip("/")
    parse_remote(f"{place}/name")
    return Mirror(place, bool(comma))


def mirrored(mirror: Mirror, reference: Reference, prefix: str) -> Remote:
    """Return the place of a repository at a mirror: below its place, what follows the prefix that it is a mirror of."""
    rest = reference.repository.removeprefix(prefix).lstrip("/")
    if not rest:  # of one repository the mirror is a repository too, or a registry that has it under the same name
        has_name = "/" in mirror.place.rpartition("://")[2]
        return parse_remote(mirror.place if has_name else f"{mirror.place}/{reference.repository}").repository_only()
    return parse_remote(f"{mirror.place}/{rest}").repository_only()
