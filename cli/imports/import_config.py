"""`entrepot import-config`: another tool's list of what to mirror, as a file for `entrepot apply`."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from cli.options import Json
from cli.output import print_json, print_line, say
from oci.errors import InvalidInput, LocalError

if TYPE_CHECKING:
    from cli.configuration.document import ConfigDocument
    from cli.imports.imported import ImportedList

Tool = Literal["regsync", "flux-mirror", "hauler"]


def import_config(
    tool: Annotated[Tool, typer.Argument(metavar="TOOL", help="Tool of the list: regsync, flux-mirror or hauler.")],
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The list, in YAML.")],
    *,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write this file. Default: standard output.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Convert another tool's list into a file for `apply`.

    Notes on standard error name each line that was not converted. The command changes nothing; `entrepot apply` does.

    Example: entrepot import-config regsync regsync.yaml
    """
    from cli.configuration.document import parse_documents, read_document_bytes
    from cli.configuration.export_config import to_yaml

    documents = parse_documents(read_document_bytes(file), str(file))
    read = _reader(tool)
    made = [read(document) for document in documents]
    value = merge([one.configuration() for one in made])
    unconverted = sorted(fault for one in made for fault in (*one.document.faults, *one.unconverted))
    if value.keys() <= {"version"} and not unconverted:
        raise InvalidInput(f"invalid list {file}: expected a list of {tool}")
    if as_json:
        lines = [{"line": one.line, "where": one.where, "message": one.text} for one in unconverted]
        print_json({"configuration": value, "without_counterpart": lines})
        return
    if output is None:
        print_line(to_yaml(value).rstrip())
    else:
        try:
            output.write_text(to_yaml(value))
        except OSError as error:
            raise LocalError(f"{output} cannot be written: {error.strerror}") from None
        say(f"written: {output}")
    for one in unconverted:
        say(f"note: {one.show(str(file))}")


def _reader(tool: Tool) -> "Callable[[ConfigDocument], ImportedList]":
    if tool == "regsync":
        from cli.imports.regsync import import_regsync

        return import_regsync
    if tool == "flux-mirror":
        from cli.imports.flux_mirror import import_flux_mirror

        return import_flux_mirror
    from cli.imports.hauler import import_hauler

    return import_hauler


def merge(parts: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the configurations of several documents as one; deployments of one name get numbers."""
    value: dict[str, Any] = {"version": 1}
    for part in parts:
        value.setdefault("remotes", {}).update(part.get("remotes", {}))
        deployments = value.setdefault("deployments", {})
        for name, entry in part.get("deployments", {}).items():
            free = next(
                one
                for number in range(1, 10_000)
                if (one := name if number == 1 else f"{name}-{number}") not in deployments
            )
            deployments[free] = entry
    return {name: found for name, found in value.items() if found not in ({}, [])}
