"""`entrepot curate`: a version from a chosen set of tags and digests."""

import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from cli import completion
from cli.catalog import opened
from cli.filter_options import judged, show_judged, with_filters
from cli.flow_runs import read_form, run_here, show_operation
from cli.options import DryRun, Explain, Home, Json, Repository

_LISTS = ("sources", "tag", "untag", "remove")


def read_list(file: Path, name: str) -> dict[str, object]:
    """Read a list of sources and edits, fields of the form; raise InvalidInput."""
    import yaml  # type: ignore[import-untyped]  # it carries no types

    from oci.errors import InvalidInput

    try:
        text = sys.stdin.read() if str(file) == "-" else file.read_text()
        found = yaml.safe_load(text)
    except OSError as error:
        raise InvalidInput(f"cannot read {file}: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InvalidInput(f"{file} is not YAML: {' '.join(str(error).split())}") from None
    if isinstance(found, list):
        found = {"sources": found}
    if not isinstance(found, dict) or not all(isinstance(key, str) for key in found):
        raise InvalidInput(f"{file} holds neither a list of sources nor fields such as sources, tag, untag and remove")
    if found.setdefault("repository", name) != name:
        raise InvalidInput(f"{file} is for {found['repository']}, not for {name}")
    return found


def joined(
    listed: Mapping[str, object], given: Mapping[str, object], said: Mapping[str, Sequence[str]]
) -> dict[str, object]:
    """A file's fields with those of the command line: lists of both, else what the command line says where the file is silent."""
    fields = {**given, **listed}
    for key in _LISTS:
        more = list(said.get(key, ()))
        old = fields.get(key)
        fields[key] = [*old, *more] if isinstance(old, list) else more if old is None else old
    return {**fields, "dry_run": given["dry_run"], "expect": given["expect"]}


@with_filters
def curate(
    context: typer.Context,
    name: Repository,
    sources: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[SOURCE…]",
            help="NAME (filtered), NAME:TAG, NAME@DIGEST or NAME:TAG@DIGEST.",
            autocompletion=completion.tags_of,
        ),
    ] = None,
    *,
    listed: Annotated[
        Path | None,
        typer.Option("--from", metavar="FILE", help="YAML list of sources and edits; - for standard input."),
    ] = None,
    mirror: Annotated[
        bool, typer.Option("--mirror/--additive", help="Exactly what is chosen (default), or on top of what is there.")
    ] = True,
    filters: Mapping[str, object],
    tag: Annotated[
        list[str] | None, typer.Option("--tag", metavar="NEW=TAG", help="Set a tag: NEW=TAG or NEW=DIGEST; repeatable.")
    ] = None,
    untag: Annotated[
        list[str] | None, typer.Option("--untag", metavar="PATTERN", help="Take tags away; what they point to stays.")
    ] = None,
    remove: Annotated[
        list[str] | None,
        typer.Option(
            "--remove", metavar="PATTERN", help="Remove tags, or a DIGEST, with what belongs to them alone; repeatable."
        ),
    ] = None,
    allow_empty: Annotated[bool, typer.Option("--allow-empty", help="Leave nothing, if it comes to that.")] = False,
    expect: Annotated[
        str, typer.Option("--expect", metavar="PLAN", help="Do exactly the plan that --dry-run has told, or nothing.")
    ] = "",
    dry_run: DryRun = False,
    explain: Explain = False,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Make a version from content of local repositories.

    Selected content comes with what it refers to; nothing is copied. Without a source, edit what is there.

    Example: entrepot curate team/curated team/app --include '1.*'
    """
    from flows.curate.request import CurateRequest

    given: dict[str, object] = {
        "repository": name,
        "mode": "mirror" if mirror else "additive",
        **filters,
        "allow_empty": allow_empty,
        "expect": expect,
        "dry_run": dry_run,
    }
    said = {
        key: value for key, value in (("sources", sources), ("tag", tag), ("untag", untag), ("remove", remove)) if value
    }
    request = read_form(CurateRequest, **joined(read_list(listed, name) if listed else {}, given, said))
    if explain:
        from catalog.filters.tags import Selection
        from flows.curate.request import choose_content

        with opened(home) as catalog:
            chosen = choose_content(catalog, request, now=datetime.now(UTC))
        show_judged(judged(Selection(chosen.kept, chosen.dropped)), as_json=as_json)
        return
    show_operation(run_here(context, home, "flows.curate.flow", "curate_repository", request), as_json=as_json)
