"""`entrepot apply`: one file of wished-for state, planned, shown and done."""

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli import exit_codes
from cli.catalog import settings_of
from cli.options import Home, Json
from cli.output import print_json, print_line, say
from oci.errors import Conflict, InvalidInput

if TYPE_CHECKING:
    from catalog.desired_state.ledger import Ledger
    from catalog.desired_state.plan import Address, ApplyPlan
    from cli.configuration.apply_context import ApplyContext, CurrentState
    from cli.configuration.desired_entries import DesiredEntry
    from cli.configuration.document import ConfigDocument, DocumentFault
    from cli.configuration.execution import StepResult


def apply(
    typer_context: typer.Context,
    file: Annotated[Path | None, typer.Argument(metavar="FILE", help="YAML file with the desired state.")] = None,
    *,
    plan: Annotated[
        bool,
        typer.Option("--plan", "--dry-run", help="Show the plan and change nothing. Exit code 3: there are changes."),
    ] = False,
    prune: Annotated[
        bool, typer.Option("--prune", help="Remove what an earlier apply created and the file no longer lists.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Apply without asking.")] = False,
    schema: Annotated[bool, typer.Option("--schema", help="Print the JSON Schema of the file and exit.")] = False,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Apply a file of desired state to this installation.

    The command checks the whole file and shows the plan before it changes anything. It leaves alone what the file does not name.

    Example: entrepot apply entrepot.yaml --plan
    """
    if schema:
        from cli.configuration.model import configuration_schema

        print_line(json.dumps(configuration_schema(), indent=2))
        return
    if file is None:
        raise InvalidInput("expected FILE, such as entrepot.yaml; `entrepot export-config` writes one")
    from cli.configuration.document import read_config_file

    document = read_config_file(file)
    applying = _read(document, str(file), prune=prune)
    if plan and not settings_of(home).has_catalog:
        _show_first(applying, as_json=as_json)
        return
    from cli.configuration.apply_context import open_apply_context
    from cli.configuration.execution import settle_ledger

    with open_apply_context(home, needs_prefect=applying.needs_prefect, debug=bool(typer_context.obj)) as context:
        seen = context.look()
        found = applying.plan(context, seen)
        applying.tell_unread_secrets(seen)
        if plan or not found.effective:
            if not plan:
                settle_ledger(context, seen.items)
            _show(found, as_json=as_json, is_dry=plan)
            _end(exit_codes.WOULD_CHANGE if plan and found.effective else exit_codes.DONE)
            return
        if not as_json:
            _show(found, as_json=False, is_dry=True)
        _confirm(found, yes=yes)
        seen = context.look()
        if applying.plan(context, seen) != found:
            raise Conflict("the state changed after the plan was shown; run the command again")
        _end(_act(found, applying, context, seen, as_json=as_json))


def _end(code: int) -> None:
    if code:
        raise typer.Exit(code)


@dataclass(frozen=True, slots=True)
class Applying:
    """A file that was read, and what it asks for; its faults so far are told with those that the checks find."""

    document: "ConfigDocument"
    name: str
    desired: "tuple[DesiredEntry, ...]"
    faults: "tuple[DocumentFault, ...]"
    prune: bool

    def needs_prefect(self, ledger: "Ledger") -> bool:
        """Return whether deployments are concerned: the file has some, or an earlier apply created some."""
        return any(wanted.kind == "deployments" for wanted in self.desired) or any(
            made.kind == "deployments" for made in ledger.made
        )

    def plan(self, context: "ApplyContext | None", seen: "CurrentState") -> "ApplyPlan":
        """Check the file against what is there; return the plan. Raise InvalidInput with every fault."""
        from catalog.desired_state.plan import plan_apply
        from cli.configuration.checks import ExpectedState, check_desired_entries, check_pools, named_items, reject

        owned = context.ledger.value.owned(seen.items) if context else frozenset()
        items = [wanted.item(seen) for wanted in self.desired]
        found = plan_apply(items, seen.items, owned, prune=self.prune)
        value = self.document.value if isinstance(self.document.value, dict) else {}
        gone = {(step.kind, step.key) for step in found.steps if step.action == "remove"}
        known = ExpectedState(self.desired, list(named_items(value)), seen, gone)
        faults = [*self.faults]
        faults += [
            self.document.fault(place, text)
            for place, text in check_desired_entries(
                known, has_version=lambda name, number: _has_version(context, name, number)
            )
        ]
        if context is not None and context.prefect is not None:
            checked = check_pools(self.desired, context.prefect.deployments.check)
            faults += [self.document.fault(place, text) for place, text in checked]
        if faults:
            ordered = sorted(set(faults))
            detail = [
                {"line": one.line, "column": one.column, "where": one.where, "message": one.text} for one in ordered
            ]
            raise reject([one.show(self.name) for one in ordered], detail)
        return found

    def tell_unread_secrets(self, seen: "CurrentState") -> None:
        """Say which secrets of things that are there were not compared."""
        for wanted in self.desired:
            if wanted.fault and wanted.address in seen.items:
                say(f"note: {wanted.kind} {wanted.key}: {wanted.fault}; the stored secret is not changed")


def _read(document: "ConfigDocument", name: str, *, prune: bool) -> Applying:
    from cli.configuration.desired_entries import desired_entries_of
    from cli.configuration.model import read_entries

    entries, faults = read_entries(document)
    return Applying(document, name, tuple(desired_entries_of(entries)), tuple(faults), prune)


def _has_version(context: "ApplyContext | None", name: str, number: int) -> bool:
    from oci.errors import NameUnknown, VersionUnknown

    if context is None:
        return False
    try:
        context.catalog.history.version(name, number)
    except (NameUnknown, VersionUnknown):
        return False
    return True


def _show_first(applying: Applying, *, as_json: bool) -> None:
    """Show the plan for a home that is not there yet, without making it: its first start makes the administrator."""
    from catalog.access.store import administrators_policy
    from catalog.desired_state.present import PresentState
    from cli.configuration.apply_context import CurrentState

    found = applying.plan(None, CurrentState(PresentState(policy=administrators_policy())))
    _show(found, as_json=as_json, is_dry=True)
    _end(exit_codes.WOULD_CHANGE if found.effective else exit_codes.DONE)


def _confirm(found: "ApplyPlan", *, yes: bool) -> None:
    if yes:
        return
    if not sys.stdin.isatty():
        raise InvalidInput("standard input is not a terminal; use --yes to apply, or --plan to see the plan")
    count = len(found.effective)
    if not typer.confirm(f"Apply {count} change{'s' if count > 1 else ''}?", err=True):
        raise Conflict("cancelled; nothing was changed")


def _act(
    found: "ApplyPlan", applying: Applying, context: "ApplyContext", seen: "CurrentState", *, as_json: bool
) -> int:
    from cli.configuration.execution import act
    from cli.configuration.plan_output import show_step_result, step_json

    by_address: Mapping[Address, DesiredEntry] = {wanted.address: wanted for wanted in applying.desired}
    results: list[StepResult] = []
    for result in act(found, by_address, context, seen.items):
        results.append(result)
        if not as_json:
            show_step_result(result)
    failed = [one for one in results if one.error]
    if as_json:
        print_json(
            {
                **_counts(found),
                "failed": len(failed),
                "steps": [{**step_json(one.step), "error": one.error or None} for one in results],
            }
        )
    else:
        print_line(f"{len(results) - len(failed)} done, {len(failed)} failed")
    return exit_codes.FAILED if failed else exit_codes.DONE


def _show(found: "ApplyPlan", *, as_json: bool, is_dry: bool) -> None:
    from cli.configuration.plan_output import show_plan, step_json

    if as_json:
        print_json({**_counts(found), "failed": 0, "steps": [step_json(step) for step in found.steps]})
        return
    show_plan(found, is_dry=is_dry)


def _counts(found: "ApplyPlan") -> dict[str, int | bool]:
    return {
        "changed": bool(found.effective),
        "create": found.count("create"),
        "change": found.count("change"),
        "remove": found.count("remove"),
        "keep": found.count("keep"),
        "unchanged": found.count("unchanged"),
    }
