"""How somebody names a package that they look for: by its name, by namespace and name, or by its package URL."""

from typing import NamedTuple

from catalog.documents.purls import read_package
from oci.errors import InvalidInput

_LONGEST = 1000


class PackageTerm(NamedTuple):
    """What is looked for: a name with or without its namespace, or `package`, a package URL without version.

    `version` is that of the package URL, if it has one.
    """

    name: str
    package: str = ""
    version: str = ""


def parse_package_term(text: str) -> PackageTerm:
    """Read `openssl`, `org.apache/log4j-core` or `pkg:deb/debian/openssl@3.0.11`; raise InvalidInput. Pure."""
    text = text.strip()
    if not 0 < len(text) <= _LONGEST or not text.isprintable():
        raise InvalidInput(f"invalid package {text[:100]!r}: expected a name, such as openssl, or a package URL")
    if not text.startswith("pkg:"):
        return PackageTerm(text)
    found = read_package(text, "", "", "")
    if found is None:
        raise InvalidInput(f"invalid package URL {text[:100]!r}: expected pkg:TYPE/NAMESPACE/NAME[@VERSION]")
    return PackageTerm("", found.package, found.version)
