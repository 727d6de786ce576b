"""`entrepot catalog`: where the catalogue is kept."""

from typing import TYPE_CHECKING

import typer

from cli.flow_runs import run_here, show_summary
from cli.forms.command import FormCommand, from_form
from cli.options import Home, Json, new_group
from cli.output import print_line, print_table
from flows.all_flows import MIGRATE

if TYPE_CHECKING:
    from flows.storage.migrate_request import MigrateRequest

group = new_group("Move the catalogue between SQLite and PostgreSQL.")


@group.command("migrate", cls=FormCommand)
@from_form(MIGRATE.form)
def migrate(context: typer.Context, request: "MigrateRequest", *, home: Home = None, as_json: Json = False) -> None:
    """Move the catalogue to PostgreSQL, or back to SQLite.

    Versions, accounts, rules, hooks and the record of blobs move; blobs stay where they are. Pulls go on. Pushes wait for the
    last part, and the old catalogue takes no changes afterwards. Killed at any point, run it again.

    Example: entrepot catalog migrate --to postgresql://me@db/entrepot
    """
    result = run_here(context, home, MIGRATE, request)
    if not as_json:
        rows = [(name, str(count)) for name, count in result.report.rows.items() if count]
        if rows:
            print_table(("TABLE", "ROWS"), rows)
            print_line("")
    show_summary(result, as_json=as_json)
