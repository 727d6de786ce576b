"""Package URLs, read by the library of their specification, and packages that have none.

Source: purl specification, `pkg:TYPE/NAMESPACE/NAME@VERSION?QUALIFIERS#SUBPATH`.
"""

from functools import lru_cache
from typing import NamedTuple

from packageurl import PackageURL

from oci.unicode import REPLACEMENT, fit_text

LONGEST_TEXT = 1000
"""Characters of a name, a version, qualifiers or a licence that are kept."""

_LONGEST_PURL = 4 * LONGEST_TEXT


class ListedPackage(NamedTuple):
    """A package of an SBOM: texts on one line, empty where the document says nothing.

    `package` is its package URL without version and qualifiers, or its name where it has none; `qualifiers` are `KEY=VALUE&…`.
    `is_cut`: a text was longer than what is kept.
    """

    package: str
    type: str
    namespace: str
    name: str
    version: str
    qualifiers: str
    licence: str
    is_cut: bool = False


class _Purl(NamedTuple):
    package: str
    type: str
    namespace: str
    name: str
    version: str
    qualifiers: str


def read_package(purl: object, name: str, version: str, licence: str) -> ListedPackage | None:
    """Return a package as it is kept; None for one without a name. Pure.

    A package URL names it where it is a valid one. Its own version counts where the document states none.
    """
    found = _parse_purl(purl) if isinstance(purl, str) and len(purl) <= _LONGEST_PURL else None
    if found is None:
        found = _Purl(name, "", "", name, "", "")
    if not found.name:
        return None
    kept = found._replace(version=version or found.version)
    is_cut = any(len(text) > LONGEST_TEXT for text in (*kept, licence))
    package, type_, namespace, own_name, own_version, qualifiers = map(one_line, kept)
    return ListedPackage(package, type_, namespace, own_name, own_version, qualifiers, one_line(licence), is_cut)


def one_line(text: str) -> str:
    """Return a text of at most LONGEST_TEXT characters, what cannot be printed replaced. Pure."""
    cut = fit_text(text, LONGEST_TEXT)
    return cut if cut.isprintable() else "".join(one if one.isprintable() else REPLACEMENT for one in cut)


@lru_cache(maxsize=20_000)
def _parse_purl(text: str) -> _Purl | None:
    try:
        purl = PackageURL.from_string(text)
        package = PackageURL(purl.type, purl.namespace, purl.name).to_string()
        qualifiers = PackageURL(purl.type, None, "x", None, purl.qualifiers).to_string().partition("?")[2]
    except (ValueError, TypeError, AttributeError):  # AttributeError: what the library finds no name in
        return None
    return _Purl(package, purl.type, purl.namespace or "", purl.name, purl.version or "", qualifiers)
