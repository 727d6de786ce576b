"""`entrepot automation`: Prefect's automations, from files."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from cli.catalog import settings_of
from cli.options import Home, Json, new_group
from cli.output import print_json, print_table, say

group = new_group("Manage Prefect automations that act on events.")


@group.command("apply")
def apply_files(
    files: Annotated[list[Path], typer.Argument(metavar="FILE", help="YAML file of automations. Repeatable.")],
    *,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Create or replace automations from files.

    The server is that of a running `entrepot up`, or ENTREPOT_PREFECT_API_URL.

    Example: entrepot automation apply rebuild.yaml
    """
    from flows.direct.find_server import find_api
    from flows.orchestration.ad_hoc.server import prefect_api
    from oci.errors import LocalError

    settings = settings_of(home)
    if find_api(settings) is None:
        raise LocalError("no Prefect server answers: start `entrepot up`, or set ENTREPOT_PREFECT_API_URL")
    with prefect_api(settings, say=say) as api:
        from flows.console.automations import apply_automations, read_automations  # imports Prefect

        automations = [one for file in files for one in read_automations(file)]
        api.wait()
        applied = apply_automations(automations)
    if as_json:
        print_json([asdict(one) for one in applied])
        return
    print_table(("NAME", "CHANGE"), [(one.name, one.change) for one in applied])
