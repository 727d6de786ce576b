"""`entrepot retention`: what is kept of repositories."""

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from cli.administrator import ACTOR
from cli.catalog import opened
from cli.flow_runs import run_here, show_summary
from cli.forms.command import FormCommand, from_form
from cli.forms.reading import read_form
from cli.options import Home, Json, new_group
from cli.output import MAX_SHOWN, print_fields, print_json, print_line, print_table
from flows.all_flows import RETENTION

if TYPE_CHECKING:
    from catalog.retention.rules import RetentionRule
    from flows.retention.request import RetentionRequest

group = new_group("Manage and run rules on what repositories keep.")
NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="The rule's name.")]


@group.command("set")
def set_rule(
    name: NameArgument,
    pattern: Annotated[str, typer.Argument(metavar="PATTERN", help="Repositories: team/app, team/* or team/**.")],
    *,
    keep: Annotated[
        list[str] | None,
        typer.Option(
            "--keep", metavar="PATTERN", help="Keep these tags: a glob, re:REGEX, semver:RANGE; may be repeated."
        ),
    ] = None,
    newest: Annotated[
        int | None, typer.Option("--newest", metavar="N", help="Keep the N highest versions.", min=1)
    ] = None,
    newest_of: Annotated[
        Literal["repository", "major", "minor"],
        typer.Option("--newest-of", help="Count the newest per repository, major or minor version."),
    ] = "repository",
    set_within: Annotated[str, typer.Option(metavar="AGE", help="Keep tags that were set within: 30d, 12h.")] = "",
    pulled_within: Annotated[str, typer.Option(metavar="AGE", help="Keep tags that were pulled within.")] = "",
    label: Annotated[
        list[str] | None,
        typer.Option("--label", metavar="KEY[=VALUE]", help="Always keep images with this label; may be repeated."),
    ] = None,
    untagged_after: Annotated[
        str, typer.Option(metavar="AGE", help="Remove manifests without a tag after so long.")
    ] = "",
    versions: Annotated[
        int | None, typer.Option("--versions", metavar="N", help="Keep the newest N versions.", min=1)
    ] = None,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Set or replace a retention rule.

    A tag stays if any rule keeps it.

    Example: entrepot retention set releases 'prod/**' --newest 5
    """
    from catalog.retention.rules import RetentionRule

    rule = read_form(
        RetentionRule,
        {
            "name": name,
            "pattern": pattern,
            "keep": keep or (),
            "newest": newest,
            "line": newest_of,
            "set_within": set_within,
            "pulled_within": pulled_within,
            "labels": label or (),
            "untagged_after": untagged_after,
            "versions": versions,
        },
    )
    with opened(home, may_be_new=True) as catalog:
        catalog.retention_rules.put(rule, actor=ACTOR)
    _show(rule, as_json=as_json)


@group.command("list")
def list_rules(*, home: Home = None, as_json: Json = False) -> None:
    """List all retention rules.

    Example: entrepot retention list
    """
    with opened(home) as catalog:
        rules = catalog.retention_rules.all()
    if as_json:
        print_json([rule.model_dump() for rule in rules])
    else:
        print_table(("NAME", "REPOSITORIES", "RULE"), [(rule.name, rule.pattern, _said(rule)) for rule in rules])


@group.command("show")
def show_rule(name: NameArgument, *, home: Home = None, as_json: Json = False) -> None:
    """Show one retention rule.

    Example: entrepot retention show old-builds
    """
    with opened(home) as catalog:
        _show(catalog.retention_rules.get(name), as_json=as_json)


@group.command("delete")
def delete_rule(name: NameArgument, *, home: Home = None, as_json: Json = False) -> None:
    """Delete a retention rule.

    Example: entrepot retention delete old-builds
    """
    with opened(home) as catalog:
        catalog.retention_rules.delete(name, actor=ACTOR)
    if as_json:
        print_json({"deleted": name})
    else:
        print_line(f"deleted the rule {name}")


@group.command("run", cls=FormCommand)
@from_form(RETENTION.form)
def run_retention(
    context: typer.Context, request: "RetentionRequest", *, home: Home = None, as_json: Json = False
) -> None:
    """Apply all retention rules.

    With --dry-run it lists what a real run deletes, what stays, and why.

    Example: entrepot retention run --dry-run
    """
    result = run_here(context, home, RETENTION, request)
    if not as_json:
        rows = [row for row in result.rows() if request.dry_run or row["goes"]]
        texts = [
            (str(row["repository"]), str(row["kind"]), str(row["name"]), "goes" if row["goes"] else "stays",
             str(row["reason"]))
            for row in rows[:MAX_SHOWN]
        ]  # fmt: skip
        if texts:
            print_table(("REPOSITORY", "KIND", "NAME", "", "WHY"), texts)
            if len(rows) > MAX_SHOWN:
                print_line(f"… and {len(rows) - MAX_SHOWN} more (--json has all)")
            print_line("")
    show_summary(result, as_json=as_json)


def _show(rule: "RetentionRule", *, as_json: bool) -> None:
    if as_json:
        print_json(rule.model_dump())
    else:
        print_fields({"name": rule.name, "repositories": rule.pattern, "rule": _said(rule)})


def _said(rule: "RetentionRule") -> str:
    of = "" if rule.line == "repository" else f" of each {rule.line} version"
    parts = [
        f"keep {', '.join(rule.keep)}" if rule.keep else "",
        f"the {rule.newest} newest{of}" if rule.newest else "",
        f"set within {rule.set_within}" if rule.set_within else "",
        f"pulled within {rule.pulled_within}" if rule.pulled_within else "",
        f"labels {', '.join(rule.labels)}" if rule.labels else "",
        f"untagged go after {rule.untagged_after}" if rule.untagged_after else "",
        f"{rule.versions} versions" if rule.versions else "",
    ]
    return "; ".join(filter(None, parts)) or "keep everything"
