"""`entrepot sync-many`: sync many repositories, on many machines where there are workers."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli import exit_codes
from cli.flow_runs import run_here
from cli.forms.command import from_form
from cli.options import Home, Json
from cli.output import print_changes, print_json, say, say_remarks
from flows.all_flows import SYNC_MANY

if TYPE_CHECKING:
    from flows.sync_many.report import SyncManyResult
    from flows.sync_many.request import SyncManyRequest

SyncsFile = Annotated[
    Path | None,
    typer.Option(
        "--from-file", metavar="FILE", help="Read `defaults` and `syncs` from this YAML file; `-`: standard input."
    ),
]
_FIELDS = ("defaults", "syncs")


def read_syncs(file: Path) -> dict[str, Any]:
    """Read a list of syncs, or a document with `syncs` and `defaults`; raise InvalidInput. JSON is YAML too."""
    import yaml  # type: ignore[import-untyped]  # it carries no types

    from oci.errors import InvalidInput

    try:
        found = yaml.safe_load(sys.stdin.read() if str(file) == "-" else file.read_text())
    except OSError as error:
        raise InvalidInput(f"cannot read {file}: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InvalidInput(f"{file} is not YAML: {' '.join(str(error).split())}") from None
    if isinstance(found, list):
        found = {"syncs": found}
    if not isinstance(found, dict) or not set(found) <= set(_FIELDS) or not isinstance(found.get("syncs"), list):
        raise InvalidInput(f"{file}: expected a list of syncs, or the fields syncs and defaults")
    found["syncs"] = [{"remote": one} if isinstance(one, str) else one for one in found["syncs"]]
    return found


def with_file(said: dict[str, Any], *, from_file: SyncsFile = None) -> dict[str, Any]:
    """Return what the command line says with the entries of a file, whose defaults count more than the command line's."""
    if from_file is None:
        return said
    found = read_syncs(from_file)
    defaults = found.get("defaults") or {}
    if isinstance(defaults, dict):
        defaults = {**said.get("defaults", {}), **defaults}
    return {**said, "syncs": found["syncs"], "defaults": defaults}


@from_form(SYNC_MANY.form, adapt=with_file)
def sync_many(context: typer.Context, request: "SyncManyRequest", *, home: Home = None, as_json: Json = False) -> None:
    """Sync many repositories, on as many workers as there are.

    REMOTE is a repository or a pattern of paths, such as registry.example/team/**. A file has more entries, each with the
    fields of a sync; options hold for entries that do not set a field themselves.

    A repository that fails stops no other. The exit code is 1 when one has failed.

    Example: entrepot sync-many 'registry.example/team/**' --below mirrors --mirror
    """
    from flows.sync_many.report import SyncsFailed

    try:
        result = run_here(context, home, SYNC_MANY, request)
    except SyncsFailed as failed:
        show_synced(failed.result, as_json=as_json)
        raise typer.Exit(exit_codes.FAILED) from None
    show_synced(result, as_json=as_json)


def show_synced(result: "SyncManyResult", *, as_json: bool) -> None:
    """Print the result; what failed or was remarkable goes to standard error too."""
    if as_json:
        print_json(result.to_json())
    else:
        _print_synced(result)
    say_remarks(result.notes, {})
    if result.failed:
        say(f"error: {len(result.failed)} repositories failed:")
        for repository, reason in result.failed.items():
            say(f"  {repository}: {reason}")


def _print_synced(result: "SyncManyResult") -> None:
    shown: list[dict[str, Any]] = [one.row() for one in result.important_first() if one.outcome != "unchanged"]
    heads = ("REPOSITORY", "OUTCOME", "VERSION", "TAGS", "BYTES", "ERROR")
    print_changes(heads, [tuple(row.values()) for row in shown], result.summary(), flow_run=result.flow_run_id)
