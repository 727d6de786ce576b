"""SBOMs: what their documents say of packages, in SPDX 2 and 3 JSON and CycloneDX JSON, however they are wrapped.

Source: SPDX 2.2, 2.3 and 3.0.1, CycloneDX 1.4 to 1.6, in-toto statements (v0.1, v1), DSSE envelopes, sigstore bundles.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from catalog.documents.purls import ListedPackage, one_line, read_package
from catalog.documents.reading import DEEP, load_json, load_payload

_NO_LICENCE = frozenset({"", "NOASSERTION", "NONE"})
_DEEPEST_COMPONENT = 32
_MOST_LICENCES = 100


class OpenSbom(NamedTuple):
    """An SBOM: its format, such as `SPDX-2.3`, and its packages in their order, which may be as many as the document is long."""

    format: str
    packages: Iterator[ListedPackage]


@dataclass(frozen=True, slots=True)
class Sbom:
    """An SBOM that is read; `is_cut`: a limit has kept some of it out."""

    format: str
    packages: tuple[ListedPackage, ...]
    is_cut: bool = False


class _Stated(NamedTuple):
    """What a document says of one package, as it stands."""

    purl: object
    name: str
    version: str
    licence: str


def read_sbom(document: object, most: int) -> Sbom | None:
    """Return the SBOM in a parsed document, each package once and `most` of them; None for what is none. Pure."""
    opened = open_sbom(document)
    if opened is None:
        return None
    found: dict[ListedPackage, None] = {}
    is_cut = False
    for one in opened.packages:
        is_cut |= one.is_cut
        if len(found) < most:
            found[one] = None
        elif one not in found:
            is_cut = True
            break
    return Sbom(opened.format, tuple(found), is_cut)


def open_sbom(document: object) -> OpenSbom | None:
    """Return the SBOM in a parsed document, its packages still to be read; None for what is none. Pure."""
    found = find_sbom(document)
    if found is None:
        return None
    if "spdxVersion" in found:
        form, stated = _text(found["spdxVersion"]), _spdx2(found)
    elif "bomFormat" in found:
        form, stated = f"CycloneDX-{_text(found.get('specVersion'))}", _cyclonedx(found.get("components"))
    else:
        form, stated = _spdx3_version(found), _spdx3(_dicts(found.get("@graph")))
    packages = (package for one in stated if (package := read_package(*one)) is not None)
    return OpenSbom(one_line(form), packages)


_MEDIA_TYPES = {"SPDX": "application/spdx+json", "CycloneDX": "application/vnd.cyclonedx+json"}


def sbom_media_type(document: object) -> str:
    """Return the media type of a parsed document that is an SBOM as it stands; empty for none and for one wrapped. Pure."""
    opened = open_sbom(document)
    if opened is None or find_sbom(document) is not document:
        return ""
    return _MEDIA_TYPES.get(opened.format.partition("-")[0], "")


def find_sbom(document: object, deep: int = DEEP) -> Mapping[str, Any] | None:
    """Return the SBOM's own document, taken out of bundles, envelopes and statements; None for what is none. Pure."""
    if isinstance(document, str):  # cosign's older predicates hold the document as text
        return find_sbom(load_json(document), deep - 1) if deep else None
    if not isinstance(document, dict) or deep == 0:
        return None
    if "spdxVersion" in document or document.get("bomFormat") == "CycloneDX" or _spdx3_version(document):
        return document
    payload = document.get("payload")
    if isinstance(payload, str):
        return find_sbom(load_payload(payload), deep - 1)
    for key in ("dsseEnvelope", "predicate", "Data"):
        if key in document:
            return find_sbom(document[key], deep - 1)
    return None


def _spdx2(document: Mapping[str, Any]) -> Iterator[_Stated]:
    for package in _dicts(document.get("packages")):
        if package.get("primaryPackagePurpose") == "CONTAINER":  # the image itself
            continue
        purl = next(
            (
                one.get("referenceLocator")
                for one in _dicts(package.get("externalRefs"))
                if one.get("referenceType") == "purl"
            ),
            None,
        )
        licences = (_text(package.get(key)) for key in ("licenseConcluded", "licenseDeclared"))
        licence = next((one for one in licences if one not in _NO_LICENCE), "")
        yield _Stated(purl, _text(package.get("name")), _text(package.get("versionInfo")), licence)


def _spdx3_version(document: Mapping[str, Any]) -> str:
    """Return `SPDX-3.0.1` by the context of a document; empty for one that is no SPDX 3. Source: SPDX 3.0.1, JSON-LD context."""
    context = document.get("@context")
    first = context[0] if isinstance(context, list) and context else context
    if not isinstance(first, str) or "spdx.org/rdf/3" not in first or "@graph" not in document:
        return ""
    return f"SPDX-{first.partition('spdx.org/rdf/')[2].partition('/')[0]}"


def _spdx3(graph: Iterator[dict[str, Any]]) -> Iterator[_Stated]:
    """Licences of packages are elements of their own, which relationships name."""
    packages, expressions, licensed = list[dict[str, Any]](), dict[str, str](), dict[str, str]()
    for one in graph:
        kind = one.get("type") or one.get("@type")
        if kind == "software_Package":
            packages.append(one)
        elif isinstance(expression := one.get("simplelicensing_licenseExpression"), str):
            expressions[_text(one.get("spdxId"))] = expression
        elif kind == "Relationship" and one.get("relationshipType") in ("hasConcludedLicense", "hasDeclaredLicense"):
            targets = one.get("to")
            target = _text(targets[0] if isinstance(targets, list) and targets else targets)
            key = _text(one.get("from"))
            if one["relationshipType"] == "hasConcludedLicense" or key not in licensed:
                licensed[key] = target
    for package in packages:
        if package.get("software_primaryPurpose") == "container":  # the image itself
            continue
        licence = expressions.get(licensed.get(_text(package.get("spdxId")), ""), "")
        yield _Stated(
            _spdx3_purl(package),
            _text(package.get("name")),
            _text(package.get("software_packageVersion")),
            "" if licence in _NO_LICENCE else licence,
        )


def _spdx3_purl(package: Mapping[str, Any]) -> object:
    stated = package.get("software_packageUrl")
    if isinstance(stated, str):
        return stated
    identifiers = _dicts(package.get("externalIdentifier"))
    return next(
        (one.get("identifier") for one in identifiers if one.get("externalIdentifierType") == "packageUrl"), None
    )


def _cyclonedx(components: object, deep: int = _DEEPEST_COMPONENT) -> Iterator[_Stated]:
    for component in _dicts(components):
        if component.get("type") != "file":
            group, name = _text(component.get("group")), _text(component.get("name"))
            licence = _cyclonedx_licence(component.get("licenses"))
            whole = f"{group}/{name}" if group else name
            yield _Stated(component.get("purl"), whole, _text(component.get("version")), licence)
        if deep:
            yield from _cyclonedx(component.get("components"), deep - 1)


def _cyclonedx_licence(licences: object) -> str:
    """Return an expression, or the licences' names: an SPDX identifier where there is one."""
    found = []
    for one in _dicts(licences):
        licence = one.get("license")
        inner = licence if isinstance(licence, dict) else {}
        found.append(_text(one.get("expression")) or _text(inner.get("id")) or _text(inner.get("name")))
        if len(found) >= _MOST_LICENCES:
            break
    return " AND ".join(dict.fromkeys(one for one in found if one not in _NO_LICENCE))


def _dicts(value: object) -> Iterator[dict[str, Any]]:
    yield from (one for one in (value if isinstance(value, list) else ()) if isinstance(one, dict))


def _text(value: object) -> str:
    """Return a text or a number as text; empty for all else, which may be nested too deep to be written."""
    return str(value) if isinstance(value, str | float) or (isinstance(value, int) and abs(value) < 10**300) else ""
