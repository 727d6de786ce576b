"""`entrepot promote`: content of one repository for another, through gates."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from cli import completion
from cli.filter_options import with_filters
from cli.flow_runs import read_form, run_here, show_operation
from cli.options import DryRun, Home, Json
from cli.output import print_line, print_table


@with_filters
def promote(
    context: typer.Context,
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE", help="The repository that the content comes from.", autocompletion=completion.repositories
        ),
    ],
    target: Annotated[
        str,
        typer.Argument(metavar="TARGET", help="The repository that gets it.", autocompletion=completion.repositories),
    ],
    *,
    version: Annotated[
        int | None, typer.Option("--version", metavar="N", help="Of the source; default: its latest.", min=1)
    ] = None,
    tags: Annotated[
        list[str] | None,
        typer.Option("--tag", metavar="TAG", help="This tag; may be repeated. Default: by the filters."),
    ] = None,
    filters: Mapping[str, object],
    additive: Annotated[
        bool, typer.Option("--additive/--mirror", help="On top of what is there (default), or exactly what is chosen.")
    ] = True,
    signed_by: Annotated[
        list[Path] | None,
        typer.Option("--signed-by", metavar="FILE", help="Gate: a public key that must have signed; may be repeated."),
    ] = None,
    signed_identity: Annotated[
        str, typer.Option("--signed-identity", metavar="NAME", help="Gate: who must have signed keyless.")
    ] = "",
    signed_issuer: Annotated[
        str, typer.Option("--signed-issuer", metavar="URL", help="Whom the identity's token must be from.")
    ] = "",
    trust_config: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Trust configuration of a private sigstore.")
    ] = None,
    required_labels: Annotated[
        list[str] | None,
        typer.Option(
            "--require-label", metavar="KEY[=VALUE]", help="Gate: a label that images must have; may be repeated."
        ),
    ] = None,
    required_age: Annotated[
        str,
        typer.Option("--require-age", metavar="DURATION", help="Gate: for so long the source must have had it: 7d."),
    ] = "0",
    hook: Annotated[str, typer.Option("--hook", metavar="URL", help="Gate: a policy service to ask.")] = "",
    dry_run: DryRun = False,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Promote content from SOURCE to TARGET through gates.

    TARGET gets one new version once every gate passes; nothing is copied.

    Example: entrepot promote team/staging team/prod --dry-run
    """
    from flows.promote.request import PromoteRequest

    request = read_form(
        PromoteRequest,
        source=source,
        repository=target,
        version=version,
        tags=tags or (),
        **filters,
        mode="additive" if additive else "mirror",
        signed_by=[key.absolute() for key in signed_by or ()],
        signed_identity=signed_identity,
        signed_issuer=signed_issuer,
        trust_config=trust_config.absolute() if trust_config else None,
        require_labels=required_labels or (),
        require_age=required_age,
        hook=hook,
        dry_run=dry_run,
    )
    result = run_here(context, home, "flows.promote.flow", "promote_content", request)
    if result.verdicts and not as_json:
        print_table(("TAG", "GATE", "VERDICT"), [(one.name, one.gate, one.reason) for one in result.verdicts])
        print_line("")
    show_operation(result, as_json=as_json)
