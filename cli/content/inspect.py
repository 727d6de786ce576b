"""`entrepot inspect`: what is known of one image or artifact here."""

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from catalog.units import format_size
from cli import completion
from cli.catalog import opened
from cli.options import Home, Json
from cli.output import print_fields, print_json, print_line, print_table

if TYPE_CHECKING:
    from catalog.content.inspection import Inspection

Content = Annotated[
    str,
    typer.Argument(
        metavar="NAME[:TAG|@DIGEST]", help="An image or artifact of a repository.", autocompletion=completion.tags_of
    ),
]


def inspect(
    reference: Content,
    *,
    version: Annotated[int | None, typer.Option("--version", help="A version; default: the latest.", min=0)] = None,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Show what an image or artifact is made of.

    That is its platforms or layers, its config, what is attached to it, and where it is served.

    Without a tag it is `latest`, or the only tag there is.

    Example: entrepot inspect team/app:v1
    """
    from catalog.content.inspection import inspect_content
    from oci.reference import parse_content_reference

    wanted = parse_content_reference(reference)
    with opened(home) as catalog:
        found = inspect_content(catalog, wanted, version)
    if as_json:
        print_json(found.to_json())
        return
    print_fields(dict(_fields(found)))
    _print_parts(found)
    if found.attached:
        print_line("")
        print_table(
            ("ATTACHED", "KIND", "ARTIFACT TYPE", "SIZE"),
            [(one.digest, one.kind, one.artifact_type, format_size(one.size)) for one in found.attached],
        )


def _fields(found: "Inspection") -> Iterator[tuple[str, str | int]]:
    yield "repository", found.repository
    yield "version", found.version
    yield "digest", found.digest
    yield "kind", found.kind
    yield "media type", found.media_type
    if found.artifact_type:
        yield "artifact type", found.artifact_type
    yield "tags", ", ".join(found.tags) or "none"
    yield "served at", ", ".join(found.served_at) or "nowhere"
    if found.subject:
        yield "refers to", found.subject
    if found.platform:
        yield "platform", found.platform
    for name, value in found.config.items():
        if name != "labels":
            yield name, value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    for name, value in {**found.config.get("labels", {}), **found.annotations}.items():
        yield name, str(value)
    yield "size of its parts", format_size(found.total_size)


def _print_parts(found: "Inspection") -> None:
    if not found.parts:
        return
    is_index = any(part.platform for part in found.parts)
    print_line("")
    print_table(
        ("MANIFEST" if is_index else "PART", "PLATFORM" if is_index else "MADE BY", "SIZE", "HERE"),
        [
            (part.digest, part.platform or part.command, format_size(part.size), "yes" if part.is_here else "no")
            for part in found.parts
        ],
    )
