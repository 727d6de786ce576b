"""The command `entrepot`: its nouns, and how it ends."""

import os
import sys
import traceback
from collections.abc import Sequence
from typing import Annotated

import typer

from cli import completion, exit_codes, serve, up, worker
from cli.administration import access, audit_event, hook, quota, remote, retention, subscription, token, user
from cli.configuration import apply, export_config
from cli.content import distribution, inspect, query, repository, tag, version
from cli.doctor import doctor
from cli.forms.command import FormCommand
from cli.help_panels import ACCESS, ASK, CONTENT, OPERATE, STORAGE, PanelGroup
from cli.imports import import_config
from cli.operations import build, bundles, curate, promote, push, replicate, sign, sync, sync_many
from cli.output import print_line, say
from cli.storage import catalog, evict, gc, maintain, prefetch, reclaim, scrub
from oci.errors import EntrepotError, LocalError

app = typer.Typer(
    name="entrepot",
    cls=PanelGroup,
    help="A content pipeline and registry for containers and other OCI artifacts.",
    no_args_is_help=True,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command(cls=FormCommand, rich_help_panel=OPERATE)(up.up)
app.command(rich_help_panel=OPERATE)(serve.serve)
app.command(rich_help_panel=OPERATE)(worker.worker)
app.command(rich_help_panel=OPERATE)(doctor.doctor)
app.command(cls=FormCommand, rich_help_panel=CONTENT)(sync.sync)
app.command("sync-many", cls=FormCommand, rich_help_panel=CONTENT)(sync_many.sync_many)
app.command(cls=FormCommand, rich_help_panel=CONTENT)(replicate.replicate)
app.command(cls=FormCommand, rich_help_panel=CONTENT)(push.push)
app.command(cls=FormCommand, rich_help_panel=CONTENT)(build.build)
app.command(cls=FormCommand, rich_help_panel=CONTENT)(curate.curate)
app.command(cls=FormCommand, rich_help_panel=CONTENT)(promote.promote)
app.command(cls=FormCommand, rich_help_panel=CONTENT)(bundles.export)
app.command("import", cls=FormCommand, rich_help_panel=CONTENT)(bundles.import_)
app.add_typer(repository.group, name="repository", rich_help_panel=CONTENT)
app.add_typer(version.group, name="version", rich_help_panel=CONTENT)
app.add_typer(tag.group, name="tag", rich_help_panel=CONTENT)
app.command(rich_help_panel=CONTENT)(inspect.inspect)
app.add_typer(distribution.group, name="distribution", rich_help_panel=CONTENT)
app.command(rich_help_panel=OPERATE)(apply.apply)
app.command("export-config", rich_help_panel=OPERATE)(export_config.export_config)
app.command("import-config", rich_help_panel=OPERATE)(import_config.import_config)
app.add_typer(remote.group, name="remote", rich_help_panel=OPERATE)
app.add_typer(user.group, name="user", rich_help_panel=ACCESS)
app.add_typer(user.groups, name="group", rich_help_panel=ACCESS)
app.add_typer(token.group, name="token", rich_help_panel=ACCESS)
app.add_typer(access.group, name="access", rich_help_panel=ACCESS)
app.add_typer(quota.group, name="quota", rich_help_panel=STORAGE)
app.add_typer(retention.group, name="retention", rich_help_panel=STORAGE)
app.add_typer(audit_event.group, name="event", rich_help_panel=ASK)
app.add_typer(hook.group, name="hook", rich_help_panel=OPERATE)
app.add_typer(subscription.group, name="subscription", rich_help_panel=OPERATE)
app.command(cls=FormCommand, rich_help_panel=CONTENT)(sign.sign)
app.command(cls=FormCommand, rich_help_panel=CONTENT)(sign.attest)
app.command(cls=FormCommand, rich_help_panel=CONTENT)(sign.verify)
app.add_typer(catalog.group, name="catalog", rich_help_panel=STORAGE)
app.command(rich_help_panel=STORAGE)(gc.usage)
app.command(cls=FormCommand, rich_help_panel=STORAGE)(gc.gc)
app.command(cls=FormCommand, rich_help_panel=STORAGE)(scrub.scrub)
app.command(cls=FormCommand, rich_help_panel=STORAGE)(maintain.maintain)
app.command(cls=FormCommand, rich_help_panel=STORAGE)(prefetch.prefetch)
app.command(cls=FormCommand, rich_help_panel=STORAGE)(reclaim.reclaim)
app.command(cls=FormCommand, rich_help_panel=STORAGE)(evict.evict)
app.command(rich_help_panel=ASK)(query.query)


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import PackageNotFoundError
        from importlib.metadata import version as version_of

        try:
            print_line(f"entrepot {version_of('entrepot')}")
        except PackageNotFoundError:
            print_line("entrepot (not installed: run from its folder)")
        raise typer.Exit


@app.callback()
def options(
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
    command = typer.main.get_command(app)
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
