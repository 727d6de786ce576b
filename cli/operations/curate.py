"""`entrepot curate`: a version from a chosen set of tags and digests."""

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.catalog import opened
from cli.explanations import judged, show_judged
from cli.flow_runs import run_here, show_operation
from cli.forms.command import from_form
from cli.options import Explain, Home, Json
from flows.all_flows import CURATE

if TYPE_CHECKING:
    from flows.curate.request import CurateRequest

_LISTS = ("sources", "tag", "untag", "remove")
_OF_THE_COMMAND = ("dry_run", "expect")
"""Fields that the command line alone decides."""

ListFile = Annotated[
    Path | None,
    typer.Option("--from", metavar="FILE", help="Read sources and edits from this YAML file; `-`: standard input."),
]


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


def with_list(said: dict[str, Any], *, listed: ListFile = None) -> dict[str, Any]:
    """Return what the command line says with a file's fields: lists of both, else the file's, where it has them."""
    if listed is None:
        return said
    fields = {**said, **read_list(listed, said["repository"])}
    for key in _LISTS:
        more, old = list(said.get(key, ())), fields.get(key)
        if isinstance(old, list) and old is not said.get(key):
            fields[key] = [*old, *more]
    return {**fields, **{key: said[key] for key in _OF_THE_COMMAND}}


@from_form(CURATE.form, adapt=with_list)
def curate(
    context: typer.Context,
    request: "CurateRequest",
    *,
    explain: Explain = False,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Make a version from content of local repositories.

    Selected content comes with what it refers to; nothing is copied. Without a source, edit what is there.

    Example: entrepot curate team/curated team/app --include '1.*'
    """
    if explain:
        _explain(request, home, as_json=as_json)
        return
    show_operation(run_here(context, home, CURATE, request), as_json=as_json)


def _explain(request: "CurateRequest", home: Path | None, *, as_json: bool) -> None:
    from catalog.filters.tags import Selection
    from flows.curate.selection import select_curation

    with opened(home) as catalog:
        chosen = select_curation(catalog, request, now=datetime.now(UTC))
    show_judged(judged(Selection(chosen.kept, chosen.dropped)), as_json=as_json)
