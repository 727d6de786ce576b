"""`entrepot sbom`: which packages images have, by the SBOMs that are attached to them."""

import csv
import io
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from cli import completion
from cli.catalog import opened
from cli.content.query import OutputOption, ShownOption, answer_question, choose_form
from cli.flow_runs import run_here, show_operation
from cli.options import Home, Json, new_group
from cli.output import Cell, print_json, print_line, print_table, say

if TYPE_CHECKING:
    from catalog.catalog import Catalog
    from catalog.content.sboms import ImagePackages
    from catalog.versions.snapshot import Snapshot
    from oci.digest import Digest

group = new_group("Show, compare and search the packages of images.")
Image = Annotated[
    str,
    typer.Argument(
        metavar="NAME[:TAG|@DIGEST]", help="An image or index of a repository.", autocompletion=completion.tags_of
    ),
]
Listed = Literal["table", "json", "csv"]
ListedOption = Annotated[Listed, typer.Option("--format", help="Format of the result.")]
NumberOption = Annotated[
    int | None, typer.Option("--version", help="A version of the repository; default: the latest.", min=0)
]


@group.command("show")
def show_sbom(
    reference: Image,
    *,
    version: NumberOption = None,
    shown: ListedOption = "table",
    home: Home = None,
    as_json: Json = False,
) -> None:
    """List the packages of an image, by its SBOMs.

    Those of an index are those of all its images.

    Example: entrepot sbom show team/app:v1
    """
    with opened(home) as catalog:
        found = _read_packages(catalog, reference, version)
    rows = [one._asdict() for one in found.packages]
    for row in rows:
        del row["is_cut"]
    if as_json or shown == "json":
        print_json({"sboms": found.sboms, "packages": rows, "is_cut": found.is_cut})
    else:
        _print_listed(shown, ("type", "namespace", "name", "version", "licence", "package", "qualifiers"), rows, most=5)
    if found.is_cut:
        say("note: some packages or SBOMs are left out, because there are too many")


@group.command("diff")
def diff_sboms(
    old: Image,
    new: Image,
    *,
    shown: ListedOption = "table",
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Show how the packages of two images differ.

    A version goes up or down by the order of its ecosystem, such as Debian's or npm's.

    Example: entrepot sbom diff team/app:v1 team/app:v2
    """
    from catalog.content.sboms import compare_images

    with opened(home) as catalog:
        before, after = (_read_packages(catalog, one, None) for one in (old, new))
        changes = compare_images(before, after)
    rows = [
        {"change": one.change, "package": one.package, "old": list(one.old), "new": list(one.new)} for one in changes
    ]
    if as_json or shown == "json":
        print_json({"changes": rows, "is_cut": before.is_cut or after.is_cut})
        return
    texts: list[dict[str, Cell]] = [
        {"change": one.change, "package": one.package, "old": ", ".join(one.old), "new": ", ".join(one.new)}
        for one in changes
    ]
    _print_listed(shown, ("change", "package", "old", "new"), texts)


@group.command("search")
def search_packages(
    package: Annotated[
        str, typer.Argument(metavar="PACKAGE", help="A name, or a package URL: pkg:deb/debian/openssl.")
    ],
    *,
    versions: Annotated[
        str, typer.Option("--version", metavar="RANGE", help="Versions: '<1.2', '>=1.0,<1.2', 'vers:deb/<1.2'.")
    ] = "",
    limit: Annotated[int, typer.Option("--limit", help="Rows at most.", min=1, max=1_000_000)] = 1000,
    shown: ShownOption = None,
    output: OutputOption = None,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Find the served images that hold a package.

    It is the named query images-with-package. A package URL with a version means that version.

    Example: entrepot sbom search libssl3 --version '<3.0.12'
    """
    from catalog.query.named.served_packages import ask_served_packages

    form = choose_form("json" if as_json else shown, output, is_terminal=sys.stdout.isatty())
    answer_question(home, ask_served_packages(package, versions, limit), form, output, None, None)


@group.command("list")
def list_attached_sboms(
    reference: Image,
    *,
    version: NumberOption = None,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """List the SBOMs that are attached to an image.

    A signer is who a signature claims to be from; `entrepot verify` verifies.

    Example: entrepot sbom list team/app:v1
    """
    from catalog.content.sboms import list_sboms

    with opened(home) as catalog:
        found = list_sboms(catalog, *_resolve(catalog, reference, version))
    if as_json:
        print_json(found)
        return
    print_table(
        ("SBOM", "FORMAT", "PACKAGES", "ARTIFACT TYPE", "STATE", "SIGNER", "IMAGE"),
        [(one.sbom, one.format, one.packages, one.artifact_type, one.state, one.signer, one.image) for one in found],
    )


@group.command("download")
def download_sbom(
    reference: Image,
    *,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write it to a file, whole or not at all.")
    ] = None,
    wanted: Annotated[
        str, typer.Option("--format", metavar="FORMAT", help="Choose among several: spdx, cyclonedx or spdx-2.3.")
    ] = "",
    version: NumberOption = None,
    home: Home = None,
) -> None:
    """Write the SBOM of an image to a file.

    One that was attached as it is keeps its bytes; of an attestation it is the document within.
    The digest of an SBOM's own manifest names it too.

    Example: entrepot sbom download team/app:v1 -o sbom.json
    """
    from catalog.content.sboms import read_raw_sbom

    with opened(home) as catalog:
        found, raw = read_raw_sbom(catalog, *_resolve(catalog, reference, version), wanted)
    if output is None:
        sys.stdout.buffer.write(raw)
        sys.stdout.buffer.flush()
        return
    _write_whole(output, raw)
    say(f"wrote {found.format} of {found.image} to {output}")


@group.command("attach")
def attach_sbom(
    context: typer.Context,
    reference: Annotated[
        str, typer.Argument(metavar="NAME:TAG|NAME@DIGEST", help="An image.", autocompletion=completion.tags_of)
    ],
    file: Annotated[Path, typer.Argument(metavar="FILE", help="An SBOM in SPDX or CycloneDX JSON.")],
    *,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Attach an SBOM to an image, as it is.

    An SBOM that is attached already stays. `entrepot attest` attaches a signed one.

    Example: entrepot sbom attach team/app:v1 sbom.json
    """
    from flows.all_flows import ATTEST
    from flows.sign.request import AttestRequest

    request = AttestRequest(source=reference, document=file.absolute(), type=_predicate_type(file), signed=False)
    show_operation(run_here(context, home, ATTEST, request), as_json=as_json)


def _predicate_type(file: Path) -> str:
    """Return the predicate type of an SBOM in a file; raise InvalidInput for what is none."""
    from catalog.content.sboms import LARGEST_SBOM
    from catalog.documents.reading import load_json
    from catalog.documents.sboms import sbom_media_type
    from oci.errors import InvalidInput

    try:
        size = file.stat().st_size
        kind = sbom_media_type(load_json(file.read_bytes())) if size <= LARGEST_SBOM else ""
    except OSError as error:
        raise InvalidInput(f"cannot read {file}: {error.strerror}") from None
    if size > LARGEST_SBOM:
        raise InvalidInput(f"invalid SBOM {file}: {size} bytes, expected {LARGEST_SBOM} at most")
    if not kind:
        raise InvalidInput(f"invalid SBOM {file}: expected a document in SPDX JSON (2 or 3) or CycloneDX JSON")
    return "cyclonedx" if "cyclonedx" in kind else "spdxjson"


def _resolve(catalog: "Catalog", reference: str, version: int | None) -> "tuple[Snapshot, Digest]":
    from catalog.content.inspection import resolve_content
    from oci.reference import parse_content_reference

    return resolve_content(catalog, parse_content_reference(reference), version)


def _read_packages(catalog: "Catalog", reference: str, version: int | None) -> "ImagePackages":
    from catalog.content.sboms import read_image_packages

    return read_image_packages(catalog, *_resolve(catalog, reference, version))


def _print_listed(
    shown: Listed, columns: Sequence[str], rows: Iterable[Mapping[str, Cell]], *, most: int | None = None
) -> None:
    """Print rows as a table of the first columns, or all of them as CSV."""
    if shown == "table":
        print_table([name.upper() for name in columns[:most]], [[row[name] for name in columns[:most]] for row in rows])
        return
    out = io.StringIO()
    writer = csv.DictWriter(out, columns, lineterminator="\n", quoting=csv.QUOTE_MINIMAL)
    writer.writeheader()
    writer.writerows(rows)
    print_line(out.getvalue().rstrip("\n"))


def _write_whole(output: Path, raw: bytes) -> None:
    from oci.errors import LocalError

    part = output.with_name(f".{output.name}.part")
    try:
        part.write_bytes(raw)
        part.replace(output)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise LocalError(f"cannot write {output}: {error.strerror}") from error
