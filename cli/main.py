"""The command `entrepot`: its nouns, and how it ends."""

import os
import sys
import traceback
from collections.abc import Iterable, Sequence
from typing import Annotated

import typer

from cli import completion, exit_codes
from cli.commands import COMMANDS, names_for
from cli.help_panels import PanelGroup
from cli.output import print_line, say
from oci.errors import EntrepotError, LocalError


def new_app(names: Iterable[str] = COMMANDS) -> typer.Typer:
    """Return `entrepot` with the commands of these names, in the order in which help lists them."""
    app = typer.Typer(
        name="entrepot",
        cls=PanelGroup,
        help="A content pipeline and registry for containers and other OCI artifacts.",
        no_args_is_help=True,
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"]},
        callback=_read_options,
    )
    for name in names:
        COMMANDS[name].add_to(app, name)
    return app


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import PackageNotFoundError
        from importlib.metadata import version as version_of

        try:
            print_line(f"entrepot {version_of('entrepot')}")
        except PackageNotFoundError:
            print_line("entrepot (not installed: run from its folder)")
        raise typer.Exit


def _read_options(
    context: typer.Context,
    *,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks and Prefect's log.")] = False,
    _version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """Read the options before the command, and tell of settings that are mistyped."""
    context.obj = debug
    # The registry, which `serve` becomes, tells of them itself.
    if context.invoked_subcommand != "serve" and any(name.startswith("ENTREPOT_") for name in os.environ):
        from catalog.settings import mistyped_settings

        for warning in mistyped_settings(os.environ):
            say(f"warning: {warning}")


def run(arguments: Sequence[str]) -> int:
    """Run one command line; return its exit code. With --debug errors come with a traceback."""
    command = typer.main.get_command(new_app(names_for(arguments)))
    try:
        with completion.words_of_bash():
            command.main(args=list(arguments), prog_name="entrepot")
    except SystemExit as end:  # typer's way to end: 0 done, 2 usage, 130 interrupted
        if end.code == exit_codes.INTERRUPTED:
            return _interrupted()
        return end.code if isinstance(end.code, int) else exit_codes.FAILED
    except EntrepotError as error:
        if "--debug" in arguments:
            traceback.print_exc()
        return exit_codes.report(error, as_json="--json" in arguments)
    except Exception as error:  # noqa: BLE001  # the last resort: a fault of ours, told without a traceback
        if "--debug" in arguments:
            traceback.print_exc()
        what = f"{type(error).__name__}: {error}"
        unknown = LocalError(f"unexpected, a fault of entrepot's own: {what}; `entrepot --debug …` shows more")
        return exit_codes.report(exit_codes.foreseen(error) or unknown, as_json="--json" in arguments)
    return exit_codes.DONE


def _interrupted() -> int:
    """Tell in one line that a signal ended the command."""
    by, code = ("SIGTERM", exit_codes.TERMINATED) if exit_codes.was_terminated() else ("Ctrl-C", exit_codes.INTERRUPTED)
    say(f"ended by {by}; what was done until then is kept")
    return code


def main() -> None:
    """Run the installed command."""
    exit_codes.end_on_sigterm()
    os.environ.pop("PREFECT__FLOW_RUN_ID", None)  # whatever calls it, a command is no flow run of a worker
    exit_codes.leave(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
