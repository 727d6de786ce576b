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
    from catalog.wished_state.ledger import Ledger
    from catalog.wished_state.plan import Address, WishPlan
    from cli.configuration.acting import StepResult
    from cli.configuration.document import ConfigDocument, DocumentFault
    from cli.configuration.wishes import Wish
    from cli.configuration.world import Seen, World


def apply(
    context: typer.Context,
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
    from cli.configuration.acting import settle_ledger
    from cli.configuration.world import open_world

    with open_world(home, needs_prefect=applying.needs_prefect, debug=bool(context.obj)) as world:
        seen = world.look()
        found = applying.plan(world, seen)
        applying.tell_unread_secrets(seen)
        if plan or not found.effective:
            if not plan:
                settle_ledger(world, seen.items)
            _show(found, as_json=as_json, is_dry=plan)
            _end(exit_codes.WOULD_CHANGE if plan and found.effective else exit_codes.DONE)
            return
        if not as_json:
            _show(found, as_json=False, is_dry=True)
        _confirm(found, yes=yes)
        seen = world.look()
        if applying.plan(world, seen) != found:
            raise Conflict("the state changed after the plan was shown; run the command again")
        _end(_act(found, applying, world, seen, as_json=as_json))


def _end(code: int) -> None:
    if code:
        raise typer.Exit(code)


@dataclass(frozen=True, slots=True)
class Applying:
    """A file that was read, and what it wishes for; its faults so far are told with those that the checks find."""

    document: "ConfigDocument"
    name: str
    wishes: "tuple[Wish, ...]"
    faults: "tuple[DocumentFault, ...]"
    prune: bool

    def needs_prefect(self, ledger: "Ledger") -> bool:
        """Return whether deployments are concerned: the file has some, or an earlier apply created some."""
        return any(wish.kind == "deployments" for wish in self.wishes) or any(
            made.kind == "deployments" for made in ledger.made
        )

    def plan(self, world: "World | None", seen: "Seen") -> "WishPlan":
        """Check the file against what is there; return the plan. Raise InvalidInput with every fault."""
        from catalog.wished_state.plan import plan_wishes
        from cli.configuration.checks import Knowledge, check_pools, check_wishes, describe_known, reject

        owned = world.ledger.value.owned(seen.items) if world else frozenset()
        items = [wish.item(seen) for wish in self.wishes]
        found = plan_wishes(items, seen.items, owned, prune=self.prune)
        value = self.document.value if isinstance(self.document.value, dict) else {}
        gone = {(step.kind, step.key) for step in found.steps if step.action == "remove"}
        known = Knowledge(self.wishes, list(describe_known(value)), seen, gone)
        faults = [*self.faults]
        faults += [
            self.document.fault(place, text)
            for place, text in check_wishes(known, has_version=lambda name, number: _has_version(world, name, number))
        ]
        if world is not None and world.prefect is not None:
            checked = check_pools(self.wishes, world.prefect.deployments.check)
            faults += [self.document.fault(place, text) for place, text in checked]
        if faults:
            ordered = sorted(set(faults))
            detail = [
                {"line": one.line, "column": one.column, "where": one.where, "message": one.text} for one in ordered
            ]
            raise reject([one.show(self.name) for one in ordered], detail)
        return found

    def tell_unread_secrets(self, seen: "Seen") -> None:
        """Say which secrets of things that are there were not compared."""
        for wish in self.wishes:
            if wish.fault and wish.address in seen.items:
                say(f"note: {wish.kind} {wish.key}: {wish.fault}; the stored secret is not changed")


def _read(document: "ConfigDocument", name: str, *, prune: bool) -> Applying:
    from cli.configuration.model import read_entries
    from cli.configuration.wishes import wishes_of

    entries, faults = read_entries(document)
    return Applying(document, name, tuple(wishes_of(entries)), tuple(faults), prune)


def _has_version(world: "World | None", name: str, number: int) -> bool:
    from oci.errors import NameUnknown, VersionUnknown

    if world is None:
        return False
    try:
        world.catalog.history.version(name, number)
    except (NameUnknown, VersionUnknown):
        return False
    return True


def _show_first(applying: Applying, *, as_json: bool) -> None:
    """Show the plan for a home that is not there yet, without making it: its first start makes the administrator."""
    from catalog.access.store import administrators_policy
    from catalog.wished_state.present import PresentState
    from cli.configuration.world import Seen

    found = applying.plan(None, Seen(PresentState(policy=administrators_policy())))
    _show(found, as_json=as_json, is_dry=True)
    _end(exit_codes.WOULD_CHANGE if found.effective else exit_codes.DONE)


def _confirm(found: "WishPlan", *, yes: bool) -> None:
    if yes:
        return
    if not sys.stdin.isatty():
        raise InvalidInput("standard input is not a terminal; use --yes to apply, or --plan to see the plan")
    count = len(found.effective)
    if not typer.confirm(f"Apply {count} change{'s' if count > 1 else ''}?", err=True):
        raise Conflict("cancelled; nothing was changed")


def _act(found: "WishPlan", applying: Applying, world: "World", seen: "Seen", *, as_json: bool) -> int:
    from cli.configuration.acting import act
    from cli.configuration.showing import show_step_result, step_json

    by_address: Mapping[Address, Wish] = {wish.address: wish for wish in applying.wishes}
    results: list[StepResult] = []
    for result in act(found, by_address, world, seen.items):
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


def _show(found: "WishPlan", *, as_json: bool, is_dry: bool) -> None:
    from cli.configuration.showing import show_plan, step_json

    if as_json:
        print_json({**_counts(found), "failed": 0, "steps": [step_json(step) for step in found.steps]})
        return
    show_plan(found, is_dry=is_dry)


def _counts(found: "WishPlan") -> dict[str, int | bool]:
    return {
        "changed": bool(found.effective),
        "create": found.count("create"),
        "change": found.count("change"),
        "remove": found.count("remove"),
        "keep": found.count("keep"),
        "unchanged": found.count("unchanged"),
    }
